"""The gate of a run: thresholds decide, or a person does who may; each decision is kept with its reason."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sqlalchemy import create_engine, make_url, select, text
from sqlalchemy.orm import Session

from learnloop import settings
from learnloop.database import Dataset, Decision, Round
from learnloop.database.engine import engine, session
from learnloop.datasets.merge.responders import vouch_for
from learnloop.errors import Corrupted, PermissionDenied
from learnloop.jobs.checksums import check_manifest
from learnloop.loop.rounds import close_round
from learnloop.models import registry
from learnloop.permissions import Principal
from learnloop.training.saving import save

RUN = "manual__2026-05-02"
SCORES = {
    "accuracy": 0.9,
    "per_class": {"cat": {"accuracy": 0.9, "support": 20}, "dog": {"accuracy": 0.9, "support": 20}},
    "worst_class": "dog",
    "ece": 0.05,
    "latency_ms": 1.0,
    "model_bytes": 2048,
    "classes": ["cat", "dog"],
    "confusion": [[18, 2], [2, 18]],
    "calibration": [{"confidence": 0.9, "accuracy": 0.85, "count": 40}],
}
EVALUATED = {"result": {"candidate": SCORES, "current": None, "comparison": None, "test_samples": 40}}


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, postgres: str) -> Iterator[None]:
    """Learnloop's settings for the operators, with a registry of their own."""
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    maintenance.dispose()
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    monkeypatch.setenv("LEARNLOOP_MLFLOW_URL", url)
    settings.settings.cache_clear()
    engine.cache_clear()
    registry.prepare()
    yield
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


@pytest.fixture
def gate(airflow: None, db: Session, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Round]]:
    """``gate(**rules)``: what ``GateOperator`` returned for a running round of a dataset with these rules."""

    def run(change: Callable[[Path], object] = lambda model: None, **rules: Any) -> tuple[dict[str, Any], Round]:
        operator, started = gate_of(db, tmp_path, change, **rules)
        return operator.execute(context()), started

    return run


def gate_of(
    db: Session, folder: Path, change: Callable[[Path], object] = lambda model: None, **rules: Any
) -> tuple[Any, Round]:
    """A gate of a running round, and that round."""
    from airflow.sdk import DAG

    from learnloop_airflow.operators.gate import GateOperator

    dataset = Dataset(
        name="pets",
        task_type="image_classification",
        loop={"classes": ["cat", "dog"], "gate": rules},
        owner="ada",
    )
    db.add(dataset)
    db.flush()
    started = Round(dataset_id=dataset.id, number=1, state="running", metrics={"run_id": RUN}, owner="ada")
    db.add(started)
    db.commit()
    model = folder / "trained" / "model"
    pipeline = make_pipeline(LogisticRegression()).fit([[0.0], [1.0]], ["cat", "dog"])
    save(pipeline, model, ("cat", "dog"), np.zeros((1, 1), dtype=np.float32))
    change(model)
    trained = {"models_dir": str(model.parent), "result": {"labels": 30, "params": {}}}
    pin = {"dataset": "pets", "version": "pets_v1.1", "round": 1, "round_id": started.id}
    with DAG("incremental_training"):
        return GateOperator(task_id="gate", pin=pin, trained=trained, evaluated=EVALUATED), started


def context() -> Any:
    return {
        "dag_run": SimpleNamespace(triggering_user_name="ada"),
        "run_id": RUN,
        "dag": SimpleNamespace(dag_id="incremental_training"),
    }


def approve(gated: dict[str, Any]) -> Any:
    from airflow.sdk import DAG

    from learnloop_airflow.operators.gate import ApproveModelOperator

    with DAG("incremental_training"):
        return ApproveModelOperator(task_id="approve", gate=gated, evaluated=EVALUATED)


def answer(gated: dict[str, Any], choice: str, who: str | None, reason: str = "") -> Any:
    event = {
        "chosen_options": [choice],
        "params_input": {"reason": reason},
        "responded_at": datetime(2026, 5, 2, tzinfo=UTC),
        "responded_by_user": who and {"id": "7", "name": who},
    }
    return approve(gated).execute_complete(context(), event)


def vouched(database_url: str, name: str, *roles: str) -> None:
    with session(database_url) as db:
        vouch_for(db, Principal(name, frozenset(roles)), dag_id="incremental_training", run_id=RUN, task_id="approve")


def tags() -> dict[str, str]:
    return registry.get_version("pets", 1).tags


def test_a_model_that_no_server_would_load_is_not_registered(gate, db) -> None:
    def cut_short(model: Path) -> None:
        (model / "model.skops").write_bytes((model / "model.skops").read_bytes()[:-200])

    with pytest.raises(Corrupted, match=r"model\.skops"):
        gate(cut_short)
    assert registry.list_versions("pets") == []
    assert db.scalars(select(Decision)).all() == []


def test_thresholds_decide_and_nobody_is_asked(gate, db) -> None:
    gated, _ = gate(max_ece=0.01)
    assert gated["accepted"] is False
    assert approve(gated).execute(context()) == gated
    decision = db.scalars(select(Decision)).one()
    assert "its calibration error is 0.050, at most 0.010 is allowed" in decision.reason
    assert (decision.accepted, decision.owner, decision.comparison["model_version"]) == (False, "ada", 1)
    assert (tags()["gate"], tags()["gate_reason"]) == ("rejected", decision.reason)
    report = registry.file_of("pets", 1, "report.html")
    assert "its calibration error is 0.050" in report
    assert "<td>dataset version</td><td>pets_v1.1</td>" in report
    check_manifest(registry.source_of("pets", 1))
    assert close_round(db, RUN) == "rejected"


@pytest.mark.parametrize(("choice", "accepted"), [("accept", True), ("reject", False)])
def test_a_person_decides_whatever_the_thresholds_say(gate, db, database_url, choice: str, accepted: bool) -> None:
    gated, started = gate(approval="person", max_ece=0.01 if accepted else None)
    assert gated["accepted"] is None
    assert tags()["gate"] == "waits for approval"
    assert db.scalars(select(Decision)).all() == []
    vouched(database_url, "eva", "engineer")
    decided = answer(gated, choice, "eva", "seen on the floor")
    assert (decided["accepted"], decided["model_version"]) == (accepted, 1)
    decision = db.scalars(select(Decision)).one()
    assert (decision.accepted, decision.owner) == (accepted, "eva")
    assert decision.reason.startswith(f"{choice}ed by eva: seen on the floor (the thresholds would say: ")
    assert decision.comparison["candidate"]["accuracy"] == 0.9
    assert (tags()["gate"], tags()["gate_reason"]) == (f"{choice}ed", decision.reason)
    db.refresh(started)
    assert (started.metrics["accepted"], started.labels) == (accepted, 30)


def test_who_may_not_deploy_decides_nothing(gate, db, database_url) -> None:
    gated, _ = gate(approval="person")
    vouched(database_url, "sue", "scientist")
    for who, problem in (("sue", "sue may not model:deploy"), ("ben", "does not count"), (None, "nobody is named")):
        with pytest.raises(PermissionDenied, match=problem):
            answer(gated, "accept", who)
    assert db.scalars(select(Decision)).all() == []
    assert tags()["gate"] == "waits for approval"
    assert close_round(db, RUN) == "failed"  # nobody decided; its labels go back to the pool


def test_the_form_shows_the_comparison(gate, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.standard.operators.hitl import HITLOperator

    gated, _ = gate(approval="person")
    asked = approve(gated)
    shown = {}
    monkeypatch.setattr(HITLOperator, "execute", lambda self, context: shown.update(vars(self)))
    asked.execute(context())
    assert shown["subject"] == "May pets version 1 serve?"
    assert "The thresholds would say: accepted as the first model" in shown["body"]
    assert "| accuracy | 90.0% | none yet |" in shown["body"]
    assert shown["options"] == ["accept", "reject"]
    assert [notifier.text for notifier in shown["notifiers"]] == ["pets version 1 waits to be accepted or rejected"]


def test_the_task_links_to_the_report(gate, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.execution_time.xcom import XCom

    from learnloop_airflow.operators.gate import GateOperator, ReportLink

    gated, _ = gate()
    monkeypatch.setattr(XCom, "get_value", lambda **of: gated)  # the database of a task that runs
    link = ReportLink().get_link(None, ti_key=None)
    assert link.endswith("/learnloop/api/v1/models/pets/versions/1/report")
    assert isinstance(GateOperator.operator_extra_links[0], ReportLink)
