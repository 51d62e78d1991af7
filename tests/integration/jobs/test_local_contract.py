"""The contract of job runners, kept by processes on this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_contract import JobContract

from learnloop.database.engine import engine
from learnloop.settings import settings


@pytest.fixture
def runner(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings.cache_clear()
    engine.cache_clear()
    yield sys.executable
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "namespaces" / "results"


class TestLocalRunner(JobContract):
    pass
