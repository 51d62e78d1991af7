"""The disks that are watched: of the places that are on this machine, the embedded database's among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from learnloop.monitoring.platform import _disks
from learnloop.settings import settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_the_disk_of_the_database_is_watched_where_it_is_embedded(home: Path) -> None:
    (home / "store").mkdir()
    assert _places() == {"store"}
    (home / "postgres").mkdir()
    assert _places() == {"store", "database"}


def _places() -> set[str]:
    size, free = _disks()
    assert all(sample.value > 0 for sample in size.samples)
    return {sample.labels["place"] for sample in free.samples}
