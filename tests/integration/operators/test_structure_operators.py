"""The operators of a search, run as Airflow runs them, with real jobs: a trial that fails fails nothing but itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import learning_sets
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from sqlalchemy import create_engine, func, make_url, select, text
from sqlalchemy.orm import Session

from learnloop import settings
from learnloop.database import Decision, Round, StructureSearch
from learnloop.database.engine import engine
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_dataset
from learnloop.errors import JobFailed
from learnloop.jobs.checksums import check_manifest
from learnloop.loop.structure import begin_trial, trials_of
from learnloop.models import registry

RUN = "structure-wine-1"
LOOP = {
    "trainer": {"name": "mlp", "hidden": [16], "parameters": {"max_epochs": 10}},
    "structure": {"families": ["logistic", "sgd"], "trials": 4},
}


@pytest.fixture
def search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, postgres: str, db: Session
) -> Iterator[Callable[..., Any]]:
    """``search(number)``: the operator of that trial, of a search on wines (columns: nothing is near the test split)."""
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    maintenance.dispose()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    monkeypatch.setenv("LEARNLOOP_MLFLOW_URL", url)
    settings.settings.cache_clear()
    engine.cache_clear()
    registry.prepare()
    store = Store(settings.settings().store)
    folder = learning_sets.wine().write(tmp_path / "wine", range(120), name="wine", test=40, loop=LOOP)
    version = preprocess(db, store, snapshot(db, store, folder, owner="ada"), owner="ada")
    metrics = {"comparison": {"candidate": {"accuracy": 0.9}}}
    db.add(Round(dataset_id=version.dataset_id, number=0, state="accepted", labels=30, metrics=metrics, owner="ada"))
    db.commit()
    yield operators
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


def operators(kind: str, **arguments: Any) -> Any:
    from airflow.sdk import DAG

    from learnloop_airflow.operators import structure

    with DAG("structure_optimization"):
        return getattr(structure, kind)(task_id=kind, **arguments)


def context(task: str = "choose", map_index: int = -1, run_id: str = RUN) -> Any:
    from airflow.sdk import DAG

    run = {"dag_id": "structure_optimization", "run_id": run_id}
    return {
        "dag_run": SimpleNamespace(triggering_user_name=None, conf={}, clear_number=0, **run),
        "run_id": run_id,
        "dag": DAG("structure_optimization"),
        "ti": SimpleNamespace(task_id=task, map_index=map_index, try_number=1, **run),
    }


def test_a_search(search: Callable[..., Any], db: Session) -> None:
    """One test, for its jobs are processes that take seconds each to start."""
    with pytest.raises(AirflowSkipException, match="30 labelled samples, 45 would be a reason"):
        search("StructureNeededOperator", dataset="wine", when="if_needed").execute(context(run_id="structure-wine-0"))
    assert db.scalars(select(StructureSearch)).one().state == "not_needed"
    assert db.scalars(select(Decision)).one().reason.startswith("no change: 30 labelled samples")

    pin = search("StructureNeededOperator", dataset="wine", when="always", trials="", minutes="5").execute(context())
    assert search("PlanTrialsOperator", pin=pin).execute(context()) == [0, 1, 2, 3]

    def trial(number: int) -> dict[str, Any]:
        found: dict[str, Any] = search("TrialOperator", pin=pin, number=number).execute(context("trial", number))
        return found

    first, second = trial(0), trial(1)
    assert first["result"]["hidden"] == [16]
    assert first["result"]["start"].startswith("warm")
    assert second["result"]["name"] == "logistic"
    # A trial that fails fails nothing but itself. Its job is given a parameter that its trainer does not have.
    wrong = begin_trial(db, pin["search"], 2)
    wrong.candidate = {**wrong.candidate, "trainer": {**wrong.candidate["trainer"], "parameters": {"depth": 3}}}
    db.commit()
    with pytest.raises(JobFailed, match="depth: Extra inputs are not permitted"):
        trial(2)
    # One that comes too late is not begun.
    row = db.get_one(StructureSearch, pin["search"])
    row.deadline = db.scalar(func.now()) - timedelta(seconds=1)
    db.commit()
    assert "time was up" in trial(3)["skipped"]

    # A linear model is better on wines than a perceptron of ten epochs, or as good, and smaller.
    chosen = search("ChooseStructureOperator", pin=pin).execute(context())
    db.expire_all()
    trials = {one.number: one for one in trials_of(db, pin["search"])}
    assert [one.state for one in trials.values()] == ["done", "done", "failed", "skipped"]
    assert "depth" in trials[2].reason
    assert (row.state, row.chosen) == ("changed", 1), row.outcome
    assert chosen["structure"] == {"name": "logistic", "hidden": [16], "parameters": {}}
    assert chosen["trainer"] == {**chosen["structure"], "from_scratch": True}
    assert registry.names() == []  # nothing lost but the current structure, which serves

    # Where the gate allows nothing so large, it loses: a version, once, however often the task runs.
    dataset = get_dataset(db, "wine")
    dataset.loop = {**dataset.loop, "gate": {"max_model_bytes": 100}}
    db.commit()
    for _ in range(2):
        with pytest.raises(AirflowSkipException, match="no structure is better"):
            search("ChooseStructureOperator", pin=pin).execute(context())
    (kept,) = registry.list_versions("wine")
    assert kept.tags["gate"] == "not chosen"
    assert "and the gate allows 100" in kept.tags["gate_reason"]
    assert kept.tags["structure"] == "logistic"
    assert kept.tags["dataset_version"] == pin["version"]
    assert 0.8 < kept.metrics["cross_validated_accuracy"] <= 1
    assert kept.aliases == ()
    check_manifest(kept.source)
    db.expire_all()
    assert trials_of(db, pin["search"])[1].model_version == kept.version
