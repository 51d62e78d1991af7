"""The queue as a list that people choose from: filters, and the claim of a chosen task.

That a task is gold must not be seen here either. Gold questions are in no list; so who compares what they are handed
with what is listed could tell them, were the list complete. For who answers, it leaves out one open task in
``LEFT_OUT``, always the same ones for one person: what is handed out and was not listed is then an ordinary task as often
as not. States that only a finished answer leads to are a reviewer's to see, for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, literal, literal_column, select
from sqlalchemy.orm import Session

from learnloop.annotation.queue import get_task, in_seconds, put_down, return_lapsed, state_of, take_turn
from learnloop.database import Annotation, AnnotationTask, Batch
from learnloop.errors import Conflict, InvalidInput, NotFound

LEFT_OUT = 5
ANYBODYS = ("open", "skipped")
"""States that who answers may list: what they may choose, and what they skipped."""
REVIEWERS = ("claimed", "answered", "review", "confirmed", "rejected")


@dataclass(frozen=True)
class Wanted:
    """What to list. ``least`` and ``most`` bound the model's confidence, both included."""

    state: str = "open"
    label: str | None = None
    batch: str | None = None
    least: float = 0.0
    most: float = 1.0
    since: datetime | None = None
    until: datetime | None = None


# Written out, so that PostgreSQL sees that there is an index of it.
_predicted: ColumnElement[Any] = AnnotationTask.prediction.op("->>")(literal_column("'label'"))
_LISTED = (
    AnnotationTask.id,
    AnnotationTask.sample_id,
    AnnotationTask.prediction["label"].as_string().label("label"),
    AnnotationTask.prediction["confidence"].as_float().label("confidence"),
    AnnotationTask.reason["strategy"].as_string().label("strategy"),
    AnnotationTask.priority,
    Batch.name.label("batch"),
    AnnotationTask.created_at,
)


def tasks(wanted: Wanted, dataset_id: int, caller: str, *, complete: bool) -> Select[Any]:
    """The statement for the tasks that ``wanted`` describes: what a list shows of each. ``complete``: for who does not
    answer, or reviews.

    Raises:
        InvalidInput: the bounds exclude everything, or skipped tasks are asked for by what would tell the gold ones.
    """
    if wanted.state == "skipped" and (wanted.batch, wanted.since, wanted.until) != (None, None, None):
        raise InvalidInput("skipped tasks can be asked for by label and confidence only, not by batch or age")
    if wanted.least > wanted.most:
        raise InvalidInput(
            f"least_confidence {wanted.least:g} is above most_confidence {wanted.most:g}: nothing is between"
        )
    if wanted.since is not None and wanted.until is not None and wanted.since > wanted.until:
        raise InvalidInput("since is after until: nothing is between")
    task = AnnotationTask
    found = select(*_LISTED).outerjoin(task.batch).where(task.dataset_id == dataset_id)
    mine = exists().where(
        Annotation.task_id == task.id,
        Annotation.owner == caller,
        Annotation.withdrawn_at.is_(None),
        Annotation.review_id.is_(None),
    )
    if wanted.state == "skipped":
        found = found.where(mine.where(Annotation.outcome == literal("skipped", literal_execute=True)))
    else:
        found = found.where(task.kind == "label", task.state == literal(wanted.state, literal_execute=True))
    if wanted.state == "open" and not complete:
        found = found.where(~mine, func.hashtextextended(func.concat(task.id, " ", caller), 0) % LEFT_OUT != 0)
    if wanted.label is not None:
        found = found.where(_predicted == wanted.label)
    confidence = task.prediction["confidence"].as_float()
    if wanted.least > 0:
        found = found.where(confidence >= wanted.least)
    if wanted.most < 1:
        found = found.where(confidence <= wanted.most)
    if wanted.batch is not None:
        found = found.where(Batch.name == wanted.batch)
    if wanted.since is not None:
        found = found.where(task.created_at >= wanted.since)
    if wanted.until is not None:
        found = found.where(task.created_at <= wanted.until)
    return found


def choose(session: Session, task_id: int, annotator: str, *, lease_seconds: int) -> AnnotationTask:
    """Lease a task of the person's own choice to them. What they held goes back to the queue; again does no harm.

    A task that they skipped may be chosen: the skip is then withdrawn.

    Raises:
        NotFound: there is no such task (or it is somebody else's gold task, which nobody else knows of).
        Conflict: somebody else is answering it, the person has answered it, or nothing is left to do for it.
    """
    dataset_id = get_task(session, task_id).dataset_id
    take_turn(session, dataset_id, annotator)
    return_lapsed(session, dataset_id)
    task = session.get_one(AnnotationTask, task_id, with_for_update=True, populate_existing=True)
    if task.kind == "gold" and task.owner != annotator:
        raise NotFound(f"there is no task {task_id}")
    said = session.scalars(
        select(Annotation).where(
            Annotation.task_id == task_id,
            Annotation.owner == annotator,
            Annotation.withdrawn_at.is_(None),
            Annotation.review_id.is_(None),
        )
    ).first()
    if said is not None and said.outcome != "skipped":
        raise Conflict(f"{annotator} has answered task {task_id} already: choose another")
    if task.state == "claimed" and task.claimed_by != annotator:
        raise Conflict(f"somebody else is answering task {task_id} just now: choose another")
    skipped_gold = task.kind == "gold" and task.state == "cancelled"
    if task.state not in ("open", "claimed") and not skipped_gold:
        raise Conflict(f"task {task_id} is {state_of(task.state)}; there is nothing more to do for it: choose another")
    if said is not None:
        said.withdrawn_at = func.now()
        if task.kind == "label":
            said.outcome = "withdrawn"
    put_down(session, task, annotator)
    expires = in_seconds(session, lease_seconds)  # before the row changes: a query sends what has changed
    task.state, task.claimed_by, task.lease_expires_at = "claimed", annotator, expires
    session.flush()
    return task


def skip_reasons(session: Session, task_ids: list[int], caller: str) -> dict[int, str]:
    """Why the caller skipped those of the tasks that they skipped."""
    found = select(Annotation.task_id, Annotation.outcome_reason).where(
        Annotation.task_id.in_(task_ids),
        Annotation.owner == caller,
        Annotation.outcome == "skipped",
        Annotation.withdrawn_at.is_(None),
    )
    return {row.task_id: row.outcome_reason for row in session.execute(found)}
