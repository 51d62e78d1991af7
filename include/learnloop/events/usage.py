"""What jobs used, kept by the task that ran them."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from learnloop.database import JobUsage, session
from learnloop.events.progress import TaskName
from learnloop.jobs.quantities import bytes_of
from learnloop.jobs.spec import JobSpec
from learnloop.jobs.usage import Usage

_log = logging.getLogger(__name__)


def keep(task: TaskName, try_number: int, spec: JobSpec, used: Usage, runner: str, memory: str = "") -> None:
    """Keep what a try of ``task`` used. It is news, no part of the work: a database that does not take it is logged.

    Args:
        memory: what it had, where that is not what its spec asks for.
    """
    asked = spec.resources
    whose = {**asdict(task), "try_number": try_number}
    told = {
        "owner": spec.user,
        "runner": runner,
        "asked_cpu": asked.cpu,
        "asked_memory": bytes_of(memory or asked.memory),
        "asked_gpu": asked.gpu,
        **asdict(used),
    }
    row = insert(JobUsage).values({**whose, **told})
    try:
        with session() as db:
            db.execute(row.on_conflict_do_update(index_elements=list(whose), set_={**told, "created_at": func.now()}))
    except SQLAlchemyError:
        _log.exception("what %s used was not kept", task)


def of_run(db: Session, dag_id: str, run_id: str) -> list[JobUsage]:
    """What the jobs of a run used, the first first."""
    wanted = select(JobUsage).where(JobUsage.dag_id == dag_id, JobUsage.run_id == run_id)
    return list(db.scalars(wanted.order_by(JobUsage.id)))


def forget(db: Session, days: int) -> int:
    """Delete what is older than ``days``; returns how many rows."""
    old = JobUsage.created_at < func.now() - func.make_interval(0, 0, 0, days)
    return cast("CursorResult[Any]", db.execute(delete(JobUsage).where(old))).rowcount
