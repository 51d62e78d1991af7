"""Handing out tasks: a claim leases one task to one person.

The lease is part of the task's row and all times are the database's, so two people cannot hold one task. A task whose
lease lapsed is open again but keeps its last holder in ``claimed_by``: until somebody else claims it, their late answer
counts. A gold task is one person's and never lapses: it waits for them.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from learnloop.database import Annotation, AnnotationTask, Dataset, GoldQuestion
from learnloop.errors import Conflict, Gone, NotFound, PermissionDenied

NEWEST = 200
"""Among how many tasks a gold task looks for its like."""

# One statement: the first open task by priority, then age, that nobody else is claiming at this moment and that
# this person has not answered before. SKIP LOCKED lets annotators pass each other instead of queueing.
_CLAIM = text(
    """
    UPDATE annotation_tasks SET state = 'claimed', claimed_by = :annotator,
           lease_expires_at = now() + make_interval(secs => :seconds)
    WHERE id = (
        SELECT task.id FROM annotation_tasks AS task
        WHERE task.dataset_id = :dataset AND task.state = 'open'
          AND NOT EXISTS (SELECT 1 FROM annotations WHERE task_id = task.id AND owner = :annotator)
        ORDER BY task.priority DESC, task.id
        LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id
    """
)


def claim(session: Session, dataset_id: int, annotator: str, *, lease_seconds: int) -> AnnotationTask | None:
    """Lease the next task to ``annotator``: the one they hold already, else a gold task when one is due, else the first
    open one; None when there is nothing for them.
    """
    # Two claims of one person at the same moment (two tabs, a repeated request) take turns, and get the same task.
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"claim {dataset_id} {annotator}"}
    )
    held = _held(session, dataset_id, annotator)
    if held is not None:
        held.lease_expires_at = _in(session, lease_seconds)
        return held
    _return_lapsed(session, dataset_id)
    pending = _pending(session, dataset_id, annotator)
    if pending >= _gold_every(session, dataset_id):
        gold = _claim_gold(session, dataset_id, annotator, lease_seconds)
        if gold is not None:
            return gold
    values = {"annotator": annotator, "seconds": lease_seconds, "dataset": dataset_id}
    found = session.execute(_CLAIM, values).scalar_one_or_none()
    if found is not None:
        return session.get_one(AnnotationTask, found, populate_existing=True)
    # Nothing left for this person: what they answered since their last gold task must not wait for ever.
    return _claim_gold(session, dataset_id, annotator, lease_seconds) if pending else None


def renew(session: Session, task_id: int, annotator: str, *, lease_seconds: int | None = None) -> AnnotationTask:
    """Keep a task for another lease.

    Raises:
        Gone: the lease has lapsed and somebody else has the task, or it is answered.
    """
    task = held_by(session, task_id, annotator)
    seconds = lease_seconds or int(task.dataset.loop.get("quality", {}).get("lease_seconds", 300))
    task.state, task.claimed_by, task.lease_expires_at = "claimed", annotator, _in(session, seconds)
    return task


def skip(session: Session, task_id: int, annotator: str, reason: str) -> None:
    """Give a task back; the person is not asked about it again, and others may be."""
    task = held_by(session, task_id, annotator)
    session.add(
        Annotation(
            dataset_id=task.dataset_id, task_id=task.id, owner=annotator, outcome="skipped", outcome_reason=reason
        )
    )
    # A skipped gold task has done its work for this person; it belongs to nobody else.
    task.state = "cancelled" if task.kind == "gold" else "open"
    task.claimed_by = task.lease_expires_at = None


def get_task(session: Session, task_id: int) -> AnnotationTask:
    task = session.get(AnnotationTask, task_id) if 0 < task_id < 2**31 else None
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
    raise Conflict(f"task {task_id} is {task.state}; there is nothing more to do for it")


def release_lapsed(session: Session) -> int:
    """Return all tasks with lapsed leases to the queue; returns how many."""
    return sum(_return_lapsed(session, dataset) for dataset in session.scalars(select(Dataset.id)))


def _return_lapsed(session: Session, dataset_id: int) -> int:
    """Open again what lapsed; returns how many."""
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


def _gold_every(session: Session, dataset_id: int) -> int:
    loop = session.get_one(Dataset, dataset_id).loop
    return int(loop.get("quality", {}).get("gold_every", 10))


def _claim_gold(session: Session, dataset_id: int, annotator: str, lease_seconds: int) -> AnnotationTask | None:
    """A task made of the gold question that this person has met least recently; None when the dataset has none."""
    met = (
        select(AnnotationTask.sample_id, func.max(Annotation.id).label("last"))
        .join(Annotation, Annotation.task_id == AnnotationTask.id)
        .where(AnnotationTask.kind == "gold", AnnotationTask.dataset_id == dataset_id, Annotation.owner == annotator)
        .group_by(AnnotationTask.sample_id)
        .subquery()
    )
    question = session.scalars(
        select(GoldQuestion)
        .outerjoin(met, met.c.sample_id == GoldQuestion.sample_id)
        .where(GoldQuestion.dataset_id == dataset_id)
        .order_by(met.c.last.asc().nulls_first(), func.md5(GoldQuestion.sample_id + annotator))
        .limit(1)
    ).first()
    if question is None:
        return None
    task = AnnotationTask(
        dataset_id=dataset_id,
        kind="gold",
        sample_id=question.sample_id,
        path=question.path,
        object=question.object,
        prediction=question.prediction,
        reason=_disguise(session, question),
        gold_label=question.label,
        state="claimed",
        claimed_by=annotator,
        lease_expires_at=_in(session, lease_seconds),
        owner=annotator,
    )
    session.add(task)
    session.flush()
    return task


def _disguise(session: Session, question: GoldQuestion) -> dict[str, object]:
    """The reason of that one among the newest ordinary tasks that the model was as unsure of as of this gold question.

    So a strategy is named that would have chosen such a sample: what the model is sure of was drawn at random.
    """
    margin = 1 - float(question.prediction["uncertainty"])
    newest = session.scalars(
        select(AnnotationTask.reason)
        .where(AnnotationTask.dataset_id == question.dataset_id, AnnotationTask.kind == "label")
        .order_by(AnnotationTask.id.desc())
        .limit(NEWEST)
    ).all()
    found = min(newest, key=lambda reason: abs(float(reason.get("margin", math.inf)) - margin), default={})
    return {**found, "margin": margin} if "margin" in found else dict(found)


def _in(session: Session, seconds: int) -> datetime:
    now: datetime = session.execute(select(func.now())).scalar_one()
    return now + timedelta(seconds=seconds)
