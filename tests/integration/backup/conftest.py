from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_platform import Platform, databases, filled, new_key, prepare_template, settings_of

from learnloop.settings import Settings


@pytest.fixture(scope="session")
def migrated(postgres: str) -> str:
    prepare_template(postgres)
    return postgres


@pytest.fixture
def platform(migrated: str, tmp_path: Path) -> Iterator[Platform]:
    """A platform that backs itself up, encrypted, to the folder ``second``."""
    home = tmp_path / "home"
    home.mkdir()
    with databases(migrated, migrated=True, models=home / "models") as urls:
        key = new_key(tmp_path)
        yield filled(settings_of(home, urls, str(tmp_path / "second"), key), tmp_path / "lamps")


@pytest.fixture
def empty(migrated: str, platform: Platform, tmp_path: Path) -> Iterator[Settings]:
    """Another machine with nothing on it, and the place and the key of ``platform``."""
    home = tmp_path / "other"
    with databases(migrated, migrated=False, models=home) as urls:
        yield settings_of(home, urls, platform.settings.backup_remote, Path(platform.settings.backup_key_file))
