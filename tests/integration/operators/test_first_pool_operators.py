"""The tasks of `score_incoming_data` one after the other, and then the merge of a round, for a dataset that has no label
and no model, and with no model server anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from dataset_folders import write_images
from sqlalchemy import func, select

from learnloop import settings
from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.database import Batch, ModelLease, session
from learnloop.database.engine import engine
from learnloop.datasets.versions import get_dataset, get_version
from learnloop.loop.rounds import due_rounds
from learnloop_airflow.operators.rounds import MergeConfirmedOperator
from learnloop_airflow.operators.scoring import (
    ChooseOperator,
    PredictOperator,
    RegisterBatchOperator,
    ReleaseModelOperator,
    ShardOperator,
)
from learnloop_airflow.operators.snapshot import SnapshotOperator

BUDGET = 20


@pytest.fixture
def home(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    monkeypatch.setenv("LEARNLOOP_SERVING_URL", "http://127.0.0.1:9")
    settings.settings.cache_clear()
    engine.cache_clear()
    yield tmp_path
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


def context(run_id: str) -> Any:
    return {"dag_run": SimpleNamespace(triggering_user_name="ana"), "run_id": run_id}


def test_a_first_pool_and_the_first_round(home: Path) -> None:
    config = {
        "name": "lamps",
        "task_type": "image_classification",
        "classes": ["bright", "dark"],
        "image": {"width": 8, "height": 8, "mode": "L"},
        "loop": {"query": {"strategy": "margin_sampling", "budget": BUDGET}, "policy": {"labels": BUDGET}},
    }
    (home / "lamps").mkdir()
    (home / "lamps" / "dataset.yaml").write_text(yaml.safe_dump(config))
    SnapshotOperator(task_id="snapshot", path=str(home / "lamps")).execute(context("r0"))
    names = [f"n{number:02d}" for number in range(40)]
    write_images(home / "new", names, [number * 6 for number in range(40)])

    pin = RegisterBatchOperator(task_id="register", dataset="lamps", path=str(home / "new")).execute(context("r1"))
    assert (pin["model_version"], pin["samples"], pin["committee"]) == (0, 40, [])
    for shard in ShardOperator(task_id="shards", pin=pin, size=25).execute(context("r1")):
        PredictOperator(task_id="predict", shard=shard).execute(context("r1"))
    chosen = ChooseOperator(task_id="choose", pin=pin).execute(context("r1"))
    assert chosen == {"scored": 40, "chosen": BUDGET, "strategy": "k_means", "random": 0, "accuracy_on_random": []}
    ReleaseModelOperator(task_id="release", pin=pin).execute(context("r1"))

    with session() as db:
        assert db.scalar(select(func.count()).select_from(ModelLease)) == 0
        dataset = get_dataset(db, "lamps")
        while (task := claim(db, dataset.id, "ben", lease_seconds=60)) is not None:
            submit(db, task.id, "ben", "bright" if int(task.sample_id[1:]) >= 20 else "dark")
    with session() as db:
        (due,) = due_rounds(db)
        run_id = due.run_id
    merge = MergeConfirmedOperator(task_id="merge", round_run_id=run_id, dataset="lamps")
    merged = merge.execute(context(run_id))
    assert (merged["parent_model_version"], merged["round"]) == (None, due.number)
    assert merge.execute(context(run_id))["version"] == merged["version"]  # tried again
    with session() as db:
        version = get_version(db, merged["version"])
        assert version.provenance["recipe"] == db.scalars(select(Batch)).one().provenance["recipe"]
        assert version.dataset.head_id == version.id
