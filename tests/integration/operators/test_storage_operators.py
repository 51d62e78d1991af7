"""The operators of `storage_maintenance`, run as Airflow runs them, on a real store and database."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import pytest
from dataset_folders import write_dataset, write_images
from sqlalchemy import func, select, update

from learnloop.database import DatasetVersion, VersionUse, engine
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import tier_of
from learnloop.errors import LearnloopError
from learnloop.jobs.spec import parse_spec
from learnloop.settings import settings


@pytest.fixture
def store(tmp_path, database_url, monkeypatch):
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    settings.cache_clear()
    engine.cache_clear()
    yield Store(settings().store)
    engine().dispose()
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture
def pair(db, store, tmp_path):
    """An old version and the head."""
    folder = write_dataset(tmp_path / "lamps", samples=6)
    first = snapshot(db, store, folder, owner="ana")
    write_images(folder / "images", ["s000"], [77])
    second = snapshot(db, store, folder, owner="ana")
    db.execute(update(DatasetVersion).values(created_at=func.now() - timedelta(days=40)))
    db.commit()
    return first, second


@cache
def operators():
    from learnloop_airflow.operators import storage

    return storage


def run(kind, **arguments):
    return getattr(operators(), kind)(task_id="t", **arguments).execute({})


def test_a_day_of_maintenance(db, store, pair):
    first, second = pair
    store.add_bytes(b"nobody's")
    assert run("PrefetchOperator") == {}
    assert run("ApplyTierPolicyOperator") == {first.name: "warm"}
    assert tier_of(db, first) == "warm"
    dry = run("CollectGarbageOperator", grace=timedelta(0), dry_run=True)
    assert dry["objects"] == 2
    assert run("CollectGarbageOperator")["objects"] == 0  # within the grace period
    assert run("CollectGarbageOperator", grace=timedelta(0)) == dry
    assert (
        run("CollectGarbageOperator", grace=timedelta(0), at_remote=True)["objects"] == 0
    )  # a warm version's are there
    assert run("ApplyTierPolicyOperator") == {}
    assert tier_of(db, second) == "hot"


def test_a_move_that_fails_fails_the_task_with_its_reason(db, store, pair):
    path = store.path_of(store.read_tree(pair[0].tree)["images/s000.png"])
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    with pytest.raises(LearnloopError, match=f"{pair[0].name} was not moved: object {path.parent.name}{path.name}"):
        run("ApplyTierPolicyOperator")
    assert tier_of(db, pair[0]) == "hot"


def test_a_job_that_reads_a_version_recalls_it(db, store, pair, tmp_path):
    from learnloop_airflow.staging import stage

    first = pair[0]
    run("ApplyTierPolicyOperator")
    assert run("CollectGarbageOperator", grace=timedelta(0))["objects"] == 1
    spec = parse_spec(
        {
            "user": "ben",
            "command": ["true"],
            "idempotency_key": "k",
            "inputs": {"data": {"kind": "dataset", "source": first.tree}},
        }
    )
    stage(spec, tmp_path)
    assert (tmp_path / "data" / "images" / "s000.png").exists()
    assert tier_of(db, first) == "hot"
    assert db.scalars(select(VersionUse)).one().owner == "ben"
