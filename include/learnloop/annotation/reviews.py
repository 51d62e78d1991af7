"""What waits for a reviewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.orm.interfaces import ORMOption

from learnloop.annotation import pool
from learnloop.database import Annotation, AnnotationTask, Dataset, Review
from learnloop.errors import NotFound
from learnloop.permissions import SERVICE

UNDECIDED = ("pending", "checked", "second_opinion")
"""The outcomes of answers that still count for or against a label."""


def open_review(
    session: Session,
    task: AnnotationTask,
    kind: str,
    reason: str,
    *,
    facts: dict[str, Any] | None = None,
    owner: str = SERVICE.name,
) -> bool:
    """Have a reviewer decide about the task's sample. False when one is to already: it is asked for once.

    A task that is not confirmed waits for the decision; of a confirmed one the label stays in force meanwhile.
    """
    made = insert(Review).values(
        dataset_id=task.dataset_id,
        task_id=task.id,
        kind=kind,
        reason=reason,
        facts=facts or {},
        decision_reason="",
        owner=owner,
    )
    once = made.on_conflict_do_nothing(index_elements=["task_id"], index_where=Review.decision.is_(None))
    opened = session.scalar(once.returning(Review.id)) is not None
    if task.state != "confirmed":
        task.state = "review"
        task.claimed_by = task.lease_expires_at = None
    return opened


def request(session: Session, dataset: Dataset, sample_id: str, *, reason: str, by: str) -> Review:
    """A reviewer wants a confirmed label decided anew; the review that is open already, if one is.

    Raises:
        NotFound: the sample has no confirmed label.
    """
    row = pool.in_force(session, dataset.id, sample_id)
    if row is None:
        raise NotFound(f"sample {sample_id!r} of {dataset.name} has no confirmed label that could be corrected")
    task = row.annotation.task
    open_review(session, task, "requested", reason, facts={"label": row.label}, owner=by)
    return session.scalars(select(Review).where(Review.task_id == task.id, Review.decision.is_(None))).one()


def get_review(session: Session, review_id: int, *loaded: ORMOption) -> Review:
    """The review, with what is ``loaded`` beside it; raises NotFound."""
    review = session.get(Review, review_id, options=loaded) if 0 < review_id < 2**31 else None
    if review is None:
        raise NotFound(f"there is no review {review_id}")
    return review


def answers_to(session: Session, task: AnnotationTask) -> Sequence[Annotation]:
    """What people said of a task, oldest first: answers and skips, with comments, and earlier decisions of reviewers.

    What somebody took back is not among them.
    """
    return session.scalars(
        select(Annotation)
        .where(Annotation.task_id == task.id, Annotation.withdrawn_at.is_(None))
        .order_by(Annotation.id)
    ).all()
