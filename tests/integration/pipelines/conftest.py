"""Pipelines on real PostgreSQL, with real jobs as processes. Only what Airflow keeps between two tasks is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_folders import write_dataset
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion, engine
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.settings import settings


@pytest.fixture
def place(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    monkeypatch.setenv("LEARNLOOP_ALLOWED_ROOTS", str(tmp_path / "mine"))
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    settings.cache_clear()
    engine.cache_clear()
    (tmp_path / "mine").mkdir()
    yield tmp_path
    engine().dispose()
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture
def lamps(db: Session, place: Path) -> DatasetVersion:
    made = snapshot(db, Store(settings().store), write_dataset(place / "mine" / "lamps", 4), owner="ana")
    db.commit()
    return made
