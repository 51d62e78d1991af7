"""Handing out tasks: a claim leases one task to one person.

The lease is part of the task's row and all times are the database's, so two people cannot hold one task. A task whose
lease lapsed is open again but keeps its last holder in ``claimed_by``: until somebody else claims it, their late answer
counts. A gold task is one person's and never lapses: it waits for them. One that they gave back is open like any other, or
they would know it by that; nobody else gets it, and they do when the next is due.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm.interfaces import ORMOption

from learnloop.annotation.claiming import FRONT, claim, claim_after, claim_in, in_seconds, return_lapsed, take_turn
from learnloop.annotation.reviews import open_review
from learnloop.database import Annotation, AnnotationTask, Dataset
from learnloop.errors import Conflict, Gone, NotFound, PermissionDenied

__all__ = ["FRONT", "claim", "claim_after", "claim_in", "in_seconds", "return_lapsed", "take_turn"]

MOST_SKIPS = 3
"""A task that so many people skipped goes to a reviewer."""


def renew(session: Session, task_id: int, annotator: str, *, lease_seconds: int | None = None) -> AnnotationTask:
    """Keep a task for another lease.

    Raises:
        Gone: the lease has lapsed and somebody else has the task, or it is answered.
    """
    task = held_by(session, task_id, annotator)
    seconds = lease_seconds or int(task.dataset.loop.get("quality", {}).get("lease_seconds", 300))
    task.state, task.claimed_by, task.lease_expires_at = "claimed", annotator, in_seconds(session, seconds)
    return task


def skip(session: Session, task_id: int, annotator: str, reason: str) -> None:
    """Give a task back; the person is not asked about it again, and others may be. After ``MOST_SKIPS`` a reviewer is."""
    task = held_by(session, task_id, annotator)
    session.add(
        Annotation(
            dataset_id=task.dataset_id, task_id=task.id, owner=annotator, outcome="skipped", outcome_reason=reason
        )
    )
    # A skipped gold task has done its work for this person; it belongs to nobody else.
    task.state = "cancelled" if task.kind == "gold" else "open"
    task.claimed_by = task.lease_expires_at = None
    session.flush()
    if task.kind == "label":
        _review_if_nobody_will_say(session, task)


def release(session: Session, task_id: int, annotator: str) -> None:
    """Give a task back unanswered: others may have it at once. Again does no harm.

    Raises:
        NotFound: there is no such task.
    """
    get_task(session, task_id)
    task = session.get_one(AnnotationTask, task_id, with_for_update=True, populate_existing=True)
    if task.state == "claimed" and task.claimed_by == annotator:
        task.state = "open"
        task.claimed_by = task.lease_expires_at = None


def put_down(session: Session, task: AnnotationTask, annotator: str) -> None:
    """Give back what the person holds of the dataset beside ``task``."""
    held = select(AnnotationTask).where(
        AnnotationTask.dataset_id == task.dataset_id,
        AnnotationTask.state == "claimed",
        AnnotationTask.claimed_by == annotator,
        AnnotationTask.id != task.id,
    )
    for other in session.scalars(held.with_for_update()):
        other.state = "open"
        other.claimed_by = other.lease_expires_at = None


def get_task(session: Session, task_id: int, *loaded: ORMOption) -> AnnotationTask:
    """The task, with what is ``loaded`` beside it; raises NotFound."""
    task = session.get(AnnotationTask, task_id, options=loaded) if 0 < task_id < 2**31 else None
    if task is None:
        raise NotFound(f"there is no task {task_id}")
    return task


def held_by(session: Session, task_id: int, annotator: str) -> AnnotationTask:
    """The task, locked, if ``annotator`` holds it, or held it and nobody has taken it since (nothing is lost by that).

    Raises:
        NotFound, Gone, PermissionDenied, Conflict.
    """
    get_task(session, task_id)
    task = session.get_one(AnnotationTask, task_id, with_for_update=True, populate_existing=True)
    if task.state == "claimed" and task.claimed_by == annotator:
        return task
    if task.state == "claimed":
        raise PermissionDenied(f"task {task_id} is {task.claimed_by}'s: claim a task of your own")
    if task.state == "open":
        raise Gone(f"the lease of task {task_id} has lapsed and the task is back in the queue: claim again")
    raise Conflict(f"task {task_id} is {state_of(task.state)}; there is nothing more to do for it")


def state_of(state: str) -> str:
    """A task's state as an adjective of a sentence."""
    return "with a reviewer" if state == "review" else state


def release_lapsed(session: Session) -> int:
    """Return all tasks with lapsed leases to the queue; returns how many."""
    return sum(return_lapsed(session, dataset) for dataset in session.scalars(select(Dataset.id)))


def _review_if_nobody_will_say(session: Session, task: AnnotationTask) -> None:
    reasons = session.scalars(
        select(Annotation.outcome_reason)
        .where(Annotation.task_id == task.id, Annotation.outcome == "skipped")
        .order_by(Annotation.id)
    ).all()
    if len(reasons) >= MOST_SKIPS:
        said = ", ".join(reason or "no reason" for reason in reasons)
        open_review(session, task, "skipped", f"{len(reasons)} people skipped it: {said}")
