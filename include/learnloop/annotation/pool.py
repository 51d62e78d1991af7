"""The confirmed pool: append-only. What is confirmed later about the same sample supersedes, and overwrites nothing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, exists, func, select
from sqlalchemy.orm import Session, aliased

from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation

# Made once: making it took a twentieth of an answer's time.
_newer = aliased(ConfirmedAnnotation)
_IN_FORCE = (
    select(ConfirmedAnnotation)
    .where(
        ConfirmedAnnotation.dataset_id == bindparam("dataset"),
        ConfirmedAnnotation.sample_id == bindparam("sample"),
        ~exists().where(_newer.supersedes_id == ConfirmedAnnotation.id),
    )
    .order_by(ConfirmedAnnotation.id.desc())
    .limit(1)
)


def in_force(session: Session, dataset_id: int, sample_id: str) -> ConfirmedAnnotation | None:
    """The sample's label as it is now: the row that no other supersedes."""
    return session.scalars(_IN_FORCE, {"dataset": dataset_id, "sample": sample_id}).first()


def next_number(dataset_id: int) -> Any:
    """The number of the next row: an expression for its insert."""
    highest = select(func.max(ConfirmedAnnotation.number)).where(ConfirmedAnnotation.dataset_id == dataset_id)
    return func.coalesce(highest.scalar_subquery(), 0) + 1


def put(session: Session, task: AnnotationTask, answer: Annotation, rule: str) -> ConfirmedAnnotation | None:
    """Add the answer's label; None when the sample has that label already, so that there is nothing new to train on.

    The caller holds the dataset's lock (``loop.rounds.lock``).
    """
    if task.batch_id is None or answer.label is None:
        raise ValueError(f"annotation {answer.id} cannot enter the pool")  # gold and skips never come here
    before = in_force(session, task.dataset_id, task.sample_id)
    if before is not None and before.label == answer.label:
        return None
    row = ConfirmedAnnotation(
        dataset_id=task.dataset_id,
        number=next_number(task.dataset_id),
        batch_id=task.batch_id,
        annotation_id=answer.id,
        sample_id=task.sample_id,
        label=answer.label,
        confirmed_by=rule,
        supersedes_id=None if before is None else before.id,
        owner=answer.owner,
    )
    session.add(row)
    session.flush()
    return row
