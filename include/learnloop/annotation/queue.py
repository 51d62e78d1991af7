"""Handing out tasks: a claim leases one task to one person.

The lease is part of the task's row and all times are the database's, so two people cannot hold one task. A task whose
lease lapsed is open again but keeps its last holder in ``claimed_by``: until somebody else claims it, their late answer
counts. A gold task is one person's and never lapses: it waits for them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.interfaces import ORMOption

from learnloop.annotation.gold import claim_gold, is_due
from learnloop.annotation.reviews import open_review
from learnloop.annotation.settling import SECOND_OPINION_PRIORITY as BEGUN
from learnloop.database import Annotation, AnnotationTask, Dataset
from learnloop.errors import Conflict, Gone, NotFound, PermissionDenied

FRONT = 50
"""How many tasks at the front of the queue a claim looks at before it takes one that nobody has begun."""
MOST_SKIPS = 3
"""A task that so many people skipped goes to a reviewer."""

# One statement: the first open task by priority, then age, that nobody else is claiming at this moment and that
# this person has not answered before. SKIP LOCKED lets annotators pass each other instead of queueing.
#
# Who answers faster than the others has many tasks at the front of the queue that wait for somebody else, and reading
# them all at each claim would cost more and more. So only the first FRONT are looked at; then those that nobody has begun,
# which an index range leads to; and only when there is none, all.
_MINE = "SELECT 1 FROM annotations WHERE task_id = task.id AND owner = :annotator"
_FREE = f"""
    task.dataset_id = :dataset AND task.state = 'open'
    AND NOT EXISTS ({_MINE} AND withdrawn_at IS NULL AND review_id IS NULL)
"""
_FIRST = "ORDER BY task.priority DESC, task.id LIMIT 1 FOR UPDATE OF task SKIP LOCKED"
_CLAIM = text(
    f"""
    UPDATE annotation_tasks SET state = 'claimed', claimed_by = :annotator,
           lease_expires_at = now() + make_interval(secs => :seconds)
    WHERE id = COALESCE(
        (SELECT task.id FROM (
             SELECT id FROM annotation_tasks WHERE dataset_id = :dataset AND state = 'open'
             ORDER BY priority DESC, id LIMIT {FRONT}) AS front
         JOIN annotation_tasks AS task ON task.id = front.id WHERE {_FREE} {_FIRST}),
        (SELECT task.id FROM annotation_tasks AS task WHERE {_FREE} AND task.priority < {BEGUN} {_FIRST}),
        (SELECT task.id FROM annotation_tasks AS task WHERE {_FREE} {_FIRST})
    )
    RETURNING id
    """  # noqa: S608 - no value is in it
)


def claim(session: Session, dataset_id: int, annotator: str, *, lease_seconds: int) -> AnnotationTask | None:
    """Lease the next task to ``annotator``: the one they hold already, else a gold task when one is due, else the first
    open one; None when there is nothing for them.
    """
    take_turn(session, dataset_id, annotator)
    held = _held(session, dataset_id, annotator)
    if held is not None:
        held.lease_expires_at = in_seconds(session, lease_seconds)
        return held
    return_lapsed(session, dataset_id)
    if is_due(session, dataset_id, annotator):
        gold = claim_gold(session, dataset_id, annotator, in_seconds(session, lease_seconds))
        if gold is not None:
            return gold
    values = {"annotator": annotator, "seconds": lease_seconds, "dataset": dataset_id}
    found = session.execute(_CLAIM, values).scalar_one_or_none()
    if found is not None:
        return session.get_one(AnnotationTask, found, populate_existing=True)
    # Nothing left for this person: what they answered since their last gold task must not wait for ever.
    if _pending(session, dataset_id, annotator) == 0:
        return None
    return claim_gold(session, dataset_id, annotator, in_seconds(session, lease_seconds))


def take_turn(session: Session, dataset_id: int, annotator: str) -> None:
    """Two claims of one person at the same moment (two tabs, a repeated request) take turns, and get the same task."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"claim {dataset_id} {annotator}"}
    )


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


def put_down(session: Session, task: AnnotationTask, annotator: str) -> None:
    """Give back what the person holds of the dataset beside ``task``. A gold task waits for its person."""
    held = select(AnnotationTask).where(
        AnnotationTask.dataset_id == task.dataset_id,
        AnnotationTask.state == "claimed",
        AnnotationTask.claimed_by == annotator,
        AnnotationTask.kind == "label",
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


def dataset_of(session: Session, task_id: int) -> int:
    """The id of the dataset that a task belongs to; raises NotFound."""
    wanted = select(AnnotationTask.dataset_id).where(AnnotationTask.id == task_id)
    found = session.scalar(wanted) if 0 < task_id < 2**31 else None
    if found is None:
        raise NotFound(f"there is no task {task_id}")
    return found


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
    raise Conflict(f"task {task_id} is {state_of(task)}; there is nothing more to do for it")


def state_of(task: AnnotationTask) -> str:
    """The task's state as an adjective of a sentence."""
    return "with a reviewer" if task.state == "review" else task.state


def release_lapsed(session: Session) -> int:
    """Return all tasks with lapsed leases to the queue; returns how many."""
    return sum(return_lapsed(session, dataset) for dataset in session.scalars(select(Dataset.id)))


def return_lapsed(session: Session, dataset_id: int) -> int:
    """Open a dataset's tasks again whose lease lapsed; returns how many."""
    lapsed = (
        select(AnnotationTask.id)
        .where(
            AnnotationTask.dataset_id == dataset_id,
            AnnotationTask.kind == "label",
            AnnotationTask.state == "claimed",
            AnnotationTask.lease_expires_at < func.now(),
        )
        .with_for_update(skip_locked=True)
    )
    ids = list(session.scalars(lapsed))
    if ids:
        session.execute(
            update(AnnotationTask).where(AnnotationTask.id.in_(ids)).values(state="open", lease_expires_at=None)
        )
    return len(ids)


def _review_if_nobody_will_say(session: Session, task: AnnotationTask) -> None:
    reasons = session.scalars(
        select(Annotation.outcome_reason)
        .where(Annotation.task_id == task.id, Annotation.outcome == "skipped")
        .order_by(Annotation.id)
    ).all()
    if len(reasons) >= MOST_SKIPS:
        said = ", ".join(reason or "no reason" for reason in reasons)
        open_review(session, task, "skipped", f"{len(reasons)} people skipped it: {said}")


def _held(session: Session, dataset_id: int, annotator: str) -> AnnotationTask | None:
    return session.scalars(
        select(AnnotationTask)
        .where(
            AnnotationTask.dataset_id == dataset_id,
            AnnotationTask.state == "claimed",
            AnnotationTask.claimed_by == annotator,
            (AnnotationTask.lease_expires_at >= func.now()) | (AnnotationTask.kind == "gold"),
        )
        .order_by(AnnotationTask.id)
        .limit(1)
        .with_for_update()
    ).first()


def _pending(session: Session, dataset_id: int, annotator: str) -> int:
    """How many answers wait for this person's next gold task."""
    return (
        session.scalar(
            select(func.count())
            .select_from(Annotation)
            .where(Annotation.dataset_id == dataset_id, Annotation.owner == annotator, Annotation.outcome == "pending")
        )
        or 0
    )


def in_seconds(session: Session, seconds: int) -> datetime:
    now: datetime = session.execute(select(func.now())).scalar_one()
    return now + timedelta(seconds=seconds)
