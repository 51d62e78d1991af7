"""How far jobs are: the newest line of each job's ``progress.jsonl``, where all server processes can read it."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from learnloop.database import JobProgress, session
from learnloop.events.log import notify, topic_of_run
from learnloop.jobs.beside import beside

EVERY_SECONDS = 1.0
_LONGEST_LINE = 4096
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskName:
    """A task of a run: what a job's progress is kept under. ``map_index`` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@contextmanager
def followed(task: TaskName, owner: str, results: Path) -> Iterator[None]:
    """While the block runs, pass on the newest line of ``results/progress.jsonl``, once a second and at the end.

    Progress is news, no part of the work: a database that does not take it is logged, and harms no job.
    """
    told = b""

    def follow(ended: threading.Event) -> None:
        nonlocal told
        while True:
            last = ended.wait(EVERY_SECONDS)
            line = last_line(results / "progress.jsonl")
            if line and line != told:
                told = line
                pass_on(task, owner, line)
            if last:
                return

    with beside(follow, "progress"):
        yield


def report(db: Session, task: TaskName, owner: str, line: dict[str, Any]) -> None:
    """Keep ``line`` as the newest of ``task``, and wake who watches the run."""
    row = insert(JobProgress).values(
        dag_id=task.dag_id, run_id=task.run_id, task_id=task.task_id, map_index=task.map_index, owner=owner, line=line
    )
    keys = ["dag_id", "run_id", "task_id", "map_index"]
    db.execute(row.on_conflict_do_update(index_elements=keys, set_={"line": line, "updated_at": func.now()}))
    notify(db, topic_of_run(task.dag_id, task.run_id))


def of_run(db: Session, dag_id: str, run_id: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The newest progress of a run's jobs, by task and map index."""
    wanted = select(JobProgress).where(JobProgress.dag_id == dag_id, JobProgress.run_id == run_id)
    return {(row.task_id, row.map_index): row.line for row in db.scalars(wanted)}


def forget(db: Session, days: int) -> int:
    """Delete progress that nobody has added to for ``days``; returns how many rows."""
    old = JobProgress.updated_at < func.now() - func.make_interval(0, 0, 0, days)
    return cast("CursorResult[Any]", db.execute(delete(JobProgress).where(old))).rowcount


def pass_on(task: TaskName, owner: str, line: bytes) -> None:
    """Report ``line``. Progress is news, no part of the work: a database that does not take it is logged."""
    try:
        with session() as db:
            report(db, task, owner, json.loads(line))
    except (SQLAlchemyError, ValueError):
        _log.exception("progress of %s was not passed on", task)


def last_line(path: Path) -> bytes:
    """The last whole line, read from the end; empty while there is none (or it is too long to be of use)."""
    try:
        # A job may write there: a link could lead to what is not the job's.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LONGEST_LINE))
            whole, newline, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return b""
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return b""
    line = whole.rpartition(b"\n")[2] if newline else b""
    return line if line.startswith(b"{") else b""
