"""Canaries within model servers: a round's, by what its dataset says, and those that a person opened."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from databases import new_database
from serving_support import BROKEN_FILE, wait_until
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from learnloop import settings
from learnloop.database import Dataset, Decision, Deployment, Round
from learnloop.database.engine import engine
from learnloop.errors import LearnloopError
from learnloop.loop.rounds import close_round
from learnloop.models import registry as models
from learnloop.models.deployment import set_canary
from learnloop.serving.client import ModelClient
from learnloop.training.models import load
from learnloop_airflow.operators.canary import CanaryOperator
from learnloop_airflow.operators.maintenance import FollowDeploymentsOperator
from learnloop_airflow.triggers.canary import CanaryTrigger

RUN = "manual__1"
CONTEXT: Any = {"dag_run": SimpleNamespace(triggering_user_name="ann"), "run_id": RUN}
SLOW_SECONDS = 0.12


class Slow:
    """Takes longer over a row than any other does."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.classes, self.input_size = model.classes, model.input_size

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        time.sleep(SLOW_SECONDS)
        return self.model.predict_proba(features)


class Erring(Slow):
    """Passes its smoke test, and errs at ten rows."""

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        if len(features) >= 10:
            raise FloatingPointError("it has not seen this before")
        return self.model.predict_proba(features)


@pytest.fixture(scope="module")
def mlflow(postgres: str, registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with eight versions of digits, of which the last does not load."""
    with new_database(postgres, "template1") as url:
        models.prepare(url)
        root = tmp_path_factory.mktemp("models")
        for version in range(1, BROKEN_FILE + 1):
            folder = registry / "digits" / str(version if version in (1, 2, BROKEN_FILE) else 1)
            about: Any = {"models_root": root, "tags": {}, "metrics": {}, "idempotency_key": str(version), "url": url}
            assert models.register("digits", folder, **about) == version
        yield url


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, mlflow: str) -> Iterator[None]:
    """Learnloop's settings for operators."""
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    monkeypatch.setenv("LEARNLOOP_MLFLOW_URL", mlflow)
    settings.settings.cache_clear()
    engine.cache_clear()
    yield
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


@pytest.fixture
def round_(db: Session, dataset_id: int) -> Round:
    """A running round that the gate accepted, of a dataset whose models are tried first."""
    wanted = {"percent": 50, "seconds": 2.0, "requests": 20}
    db.execute(update(Dataset).values(loop={"classes": ["0", "1"], "canary": wanted}))
    running = Round(
        dataset_id=dataset_id, number=1, state="running", metrics={"run_id": RUN, "accepted": True}, owner="ann"
    )
    db.add(running)
    db.commit()
    return running


def gate(version: int, round_id: int | None = None) -> dict[str, Any]:
    named = {"dataset": "digits", "model_name": "digits", "model_version": version}
    return {"accepted": True, "reason": "better", "round_id": round_id, **named}


def canary(version: int, of: Round) -> CanaryOperator:
    about: Any = {"gate": gate(version, of.id), "alias": "realtime", "as_dataset_says": True, "timeout_seconds": 15}
    return CanaryOperator(task_id="canary", **about)


def judged(operator: CanaryOperator) -> dict[str, str]:
    """The whole of the task: in its worker, in the triggerer, in its worker again."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    _, arguments = deferred.value.trigger.serialize()

    async def fires() -> dict[str, Any]:
        async for event in CanaryTrigger(**arguments).run():
            return event.payload
        raise AssertionError("it ended without an event")

    return operator.judged(CONTEXT, asyncio.run(asyncio.wait_for(fires(), 60)))


@contextmanager
def asking(url: str, rows: np.ndarray) -> Iterator[set[int]]:
    """Asks on and on; every request must be answered."""
    stop, answered, failed = threading.Event(), set[int](), list[LearnloopError]()

    def ask() -> None:
        with ModelClient(url) as client:
            while not stop.wait(0.002):
                try:
                    answered.add(client.infer("digits:realtime", rows).model_version)
                except LearnloopError as error:
                    failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []


def changed(kind: Callable[[Any], Any]) -> Callable[[Path], Any]:
    """Loads version 2 as ``kind``."""

    def of(folder: Path) -> Any:
        return kind(load(folder)) if folder.name == "2" else load(folder)

    return of


def row(db: Session) -> tuple[int, int | None]:
    db.rollback()
    found = db.scalars(select(Deployment)).one()
    return found.model_version, found.canary_version


def test_a_good_model_is_found_good_and_stays_a_canary_until_it_is_deployed(
    platform: None, round_: Round, serve: Any, deploy_digits: Any, rows: np.ndarray, db: Session
) -> None:
    deploy_digits(1, "realtime")
    server = serve()
    with asking(server.url, rows[:1]) as answered:
        assert "requests of version 2 failed (beside it 0 of" in judged(canary(2, round_))["reason"]
    assert (answered, row(db)) == ({1, 2}, (1, 2))
    assert close_round(db, RUN) == "failed"  # nobody deployed it: that is no judgement on the model


@pytest.mark.parametrize(
    ("kind", "batch", "said"),
    [(Slow, 1, "95 % of "), (Erring, 10, "FloatingPointError: it has not seen this before")],
)
def test_a_model_that_does_worse_is_ended_and_its_round_is_rejected(
    platform: None,
    round_: Round,
    serve: Any,
    deploy_digits: Any,
    rows: np.ndarray,
    db: Session,
    kind: type,
    batch: int,
    said: str,
) -> None:
    deploy_digits(1, "realtime")
    db.execute(
        update(Dataset).values(loop={"classes": ["0"], "canary": {"percent": 30, "seconds": 50.0, "requests": 20}})
    )
    db.commit()
    server = serve(changed(kind))
    with asking(server.url, rows[:batch]), pytest.raises(AirflowFailException, match=said):
        judged(canary(2, round_))
    assert row(db) == (1, None)
    assert close_round(db, RUN) == "rejected"
    db.refresh(round_)
    assert "as a canary it did worse: " in round_.metrics["gate"]
    assert models.get_version("digits", 2).tags["gate"] == "rejected"


def test_a_model_that_nobody_asks_is_not_said_to_be_bad(
    platform: None, round_: Round, serve: Any, deploy_digits: Any, db: Session
) -> None:
    deploy_digits(1, "realtime")
    serve()
    with pytest.raises(AirflowFailException, match=r"was asked 0 times in \d+ s, too seldom to tell: 20 are needed"):
        judged(canary(2, round_))
    assert row(db) == (1, None)
    db.refresh(round_)
    assert round_.metrics["accepted"] is True


def test_a_canary_that_does_not_load_leaves_the_version_beside_it_alone(
    platform: None, round_: Round, serve: Any, deploy_digits: Any, db: Session
) -> None:
    deploy_digits(2, "realtime")
    deploy_digits(1, "realtime")  # so there is a version before, which nobody asked to go back to
    serve()
    with pytest.raises(AirflowFailException, match=r"was not deployed \(its canary was ended\).*canary: "):
        canary(BROKEN_FILE, round_).execute(CONTEXT)
    assert row(db) == (1, None)


def test_nothing_is_tried_where_nobody_asks_for_it_or_nothing_is_served(
    platform: None, round_: Round, deploy_digits: Any, db: Session
) -> None:
    with pytest.raises(AirflowSkipException, match="serves nothing that version 2 could stand beside"):
        canary(2, round_).execute(CONTEXT)
    deploy_digits(1, "realtime")
    db.execute(update(Dataset).values(loop={"classes": ["0"]}))
    db.commit()
    with pytest.raises(AirflowSkipException, match="dataset digits asks for no canary"):
        canary(2, round_).execute(CONTEXT)
    assert row(db) == (1, None)


def test_a_canary_that_a_person_opened_is_judged_by_maintenance(
    platform: None, serve: Any, deploy_digits: Any, rows: np.ndarray, db: Session
) -> None:
    deploy_digits(1, "realtime")
    server = serve(changed(Slow))
    set_canary(db, model_name="digits", alias="realtime", version=2, percent=30, owner="ann")
    db.commit()
    follow = FollowDeploymentsOperator(task_id="follow_deployments")
    wait_until(lambda: ("digits", 2) in server.models.versions)
    assert follow.execute(CONTEXT) == {}  # the first look: what servers count from here on is the canary's
    with asking(server.url, rows[:1]):
        wait_until(lambda: row(db) == (1, 2) and bool(follow.execute(CONTEXT)), seconds=60)
    assert row(db) == (1, None)
    reason = db.scalars(select(Decision.reason).where(Decision.kind == "canary")).one()
    assert reason.startswith("realtime: ended: 95 % of ")
    assert follow.execute(CONTEXT) == {}
