"""Local jobs that wait for their turn on this machine, as their tasks do it: defer, be admitted, run, release."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from job_sources import FAIL, spec
from job_tasks import Task
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from learnloop.capacity.deciding import HANDOVER
from learnloop.capacity.machine import machine
from learnloop.database import Capacity, JobProgress, Reservation
from learnloop.database.engine import engine
from learnloop.errors import InvalidInput, JobFailed
from learnloop.settings import settings
from learnloop_airflow.operators.job import JobOperator
from learnloop_airflow.operators.maintenance import ReleaseReservationsOperator
from learnloop_airflow.triggers.admission import AdmissionTrigger


@pytest.fixture(autouse=True)
def one_core(tmp_path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    values = {"HOME": str(tmp_path), "DATABASE_URL": database_url, "ADMISSION": "reservation", "MACHINE": "cpu=1"}
    for name, value in values.items():
        monkeypatch.setenv(f"LEARNLOOP_{name}", value)
    for cached in (settings, engine):
        cached.cache_clear()
    yield
    engine(None).dispose()
    for cached in (settings, engine):
        cached.cache_clear()


class LocalTask:
    """A task of Airflow's, without Airflow: what its worker and its triggerer would do."""

    def __init__(self, name: str, code: str | None = None) -> None:
        more: dict[str, Any] = {} if code is None else {"outputs": []}
        resources = {"cpu": 1, "memory": "128Mi"}
        job = spec(
            *([] if code is None else [code]), python=sys.executable, params={"n": name}, resources=resources, **more
        )
        self.context = Task(job, task_id=name).context()
        self.context["ti"].try_number = 1
        self.operator = JobOperator(task_id=name, spec={"user": "ann", **job})
        self.trigger: AdmissionTrigger | None = None

    def execute(self) -> dict[str, Any] | None:
        """The result; None: it waits."""
        return self._step(lambda: self.operator.execute(self.context))

    def resume(self) -> dict[str, Any] | None:
        return self._step(lambda: self.operator.resume_admitted(self.context, {"status": "admitted"}))

    def _step(self, step: Any) -> dict[str, Any] | None:
        try:
            return dict(step())
        except TaskDeferred as deferred:
            waits = deferred
        assert waits.method_name == "resume_admitted"
        path, arguments = waits.trigger.serialize()
        assert path == "learnloop_airflow.triggers.admission.AdmissionTrigger"
        self.trigger = AdmissionTrigger(**{**arguments, "poll_seconds": 0.05})
        return None

    def wait(self, seconds: float = 10) -> bool:
        """Whether it was admitted in that time."""

        async def first() -> Any:
            return await anext(self.trigger.run())

        try:
            return asyncio.run(asyncio.wait_for(first(), seconds)).payload == {"status": "admitted"}
        except TimeoutError:
            return False


def states(db: Session) -> dict[str, str]:
    db.rollback()
    return {row.task_id: row.state for row in db.scalars(select(Reservation).execution_options(populate_existing=True))}


def hold(db: Session, name: str) -> None:
    """As a task does whose worker runs its job."""
    task = LocalTask(name)
    turn = task.operator._turn_of(task.operator.build_spec(task.context), task.context)
    assert turn is not None
    assert states(db)[name] == "begun"


def test_with_room_a_job_runs_at_once_and_holds_nothing_afterwards(db: Session) -> None:
    found = LocalTask("a").execute()
    assert found is not None
    assert found["result"]["resumed"] is False
    assert states(db) == {"a": "released"}


def test_without_room_it_waits_deferred_with_the_reason_and_then_runs(db: Session) -> None:
    hold(db, "first")
    task = LocalTask("second")
    assert task.execute() is None
    assert not task.wait(3)
    (line,) = db.scalars(select(JobProgress.line))
    assert line["reason"].startswith("place 1 of 1 in line: it needs 1 cores, 0.125 GiB on one node; planned for")
    release(db, "first")
    assert task.wait()
    assert states(db)["second"] == "admitted"
    assert task.resume() is not None
    assert states(db) == {"first": "released", "second": "released"}


def release(db: Session, name: str) -> None:
    db.execute(
        update(Reservation).where(Reservation.task_id == name).values(state="released", released_at=Reservation.seen_at)
    )
    db.commit()


def test_a_failed_job_gives_its_place_back(db: Session) -> None:
    with pytest.raises(JobFailed, match="exit code 3"):
        LocalTask("a", FAIL).execute()
    assert states(db) == {"a": "released"}


def test_a_result_that_is_there_is_not_waited_for(db: Session) -> None:
    assert LocalTask("a").execute() is not None
    hold(db, "other")
    assert LocalTask("a").execute() is not None


def test_who_waited_too_long_for_a_worker_waits_again(db: Session) -> None:
    hold(db, "first")
    late = LocalTask("late")
    assert late.execute() is None
    release(db, "first")
    assert late.wait()
    long_ago = {"seen_at": Reservation.seen_at - 2 * HANDOVER, "admitted_at": Reservation.admitted_at - 2 * HANDOVER}
    db.execute(update(Reservation).where(Reservation.task_id == "late").values(long_ago))
    db.execute(update(Capacity).values(decided_at=func.to_timestamp(0)))
    db.commit()
    hold(db, "other")
    assert late.resume() is None
    assert states(db)["late"] == "waiting"


def test_a_task_ended_by_hand_leaves_the_line(db: Session) -> None:
    hold(db, "first")
    task = LocalTask("second")
    assert task.execute() is None
    assert task.trigger is not None
    asyncio.run(task.trigger.on_kill())
    assert states(db) == {"first": "begun", "second": "released"}


def test_maintenance_releases_what_tasks_hold_that_are_over(db: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a worker's SIGKILL: nothing of the task could do it. Only Airflow's answer is a stand-in here."""
    from learnloop_airflow.operators import maintenance

    hold(db, "killed")
    waiting = LocalTask("deferred")
    assert waiting.execute() is None
    monkeypatch.setattr(maintenance, "_state_of", lambda owner: {"killed": "failed"}.get(owner.task_id, "deferred"))
    assert ReleaseReservationsOperator(task_id="release").execute(SimpleNamespace()) == 1
    assert states(db) == {"killed": "released", "deferred": "waiting"}
    assert waiting.wait()


@pytest.mark.parametrize("text", ["cpu=x", "cores=4", "cpu=-1", "memory=4GB", "gpu=0.5"])
def test_a_machine_that_is_described_wrongly_is_said_so(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"LEARNLOOP_MACHINE has .*it is to be like cpu=4,memory=8Gi,gpu=1"):
        machine(text)


def test_a_machine_has_what_it_has_unless_said_otherwise() -> None:
    (whole,) = machine("").nodes
    (said,) = machine("cpu=2.5, memory=3Gi,gpu=1").nodes
    assert whole.total.cpu >= 1000
    assert whole.total.memory > 2**28
    assert (said.total.cpu, said.total.memory, said.total.gpu) == (2500, 3 * 2**30, 1)
