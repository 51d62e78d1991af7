"""How far the loop of a dataset is: what the page and the API show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, bindparam, func, select
from sqlalchemy.orm import Session

from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, Dataset, Review, Round
from learnloop.loop.facts import facts_of, rules_of
from learnloop.loop.rounds import OPEN
from learnloop.loop.waiting import waiting
from learnloop.training import policy

MOST_OPEN = 10_000
"""Open tasks are counted so far: they change with every claim, so that no counter is kept of them."""


@dataclass(frozen=True)
class Progress:
    confirmed: int  # labels people confirmed, ever
    waiting: int  # of these, not yet used by a round
    needed: int  # how many start a round
    reason: str  # what the training policy says now: "17 more labels needed"
    open_tasks: int  # counted up to MOST_OPEN, which means: so many or more
    pending: int  # answers that wait for their check
    answered_by_me: int
    round: dict[str, object] | None  # the round under way: {"number", "state"}
    in_review: int  # samples that wait for a reviewer


def progress(session: Session, dataset: Dataset, annotator: str | None = None) -> Progress:
    """Count; reads only."""
    counts = session.execute(_COUNTS, {"dataset": dataset.id, "annotator": annotator}).one()
    under_way = session.execute(_UNDER_WAY, {"dataset": dataset.id}).first()
    waits = waiting(session, dataset)
    rules = rules_of(dataset)
    facts = facts_of(session, dataset, waiting=waits, open_round=under_way.number if under_way else None)
    return Progress(
        **counts._asdict(),
        waiting=waits,
        needed=rules.labels,
        reason=policy.evaluate(facts, rules).reason,
        round=under_way._asdict() if under_way else None,
    )


_of: Any = bindparam("dataset")


def _count(rows: Any) -> Any:
    return select(func.count()).select_from(rows.subquery()).scalar_subquery()


_UNDER_WAY = select(Round.number, Round.state).where(Round.dataset_id == _of, Round.state.in_(OPEN))
_ANSWERS = select(Annotation.id).where(Annotation.dataset_id == _of)
_COUNTS = select(
    select(func.coalesce(func.max(ConfirmedAnnotation.number), 0))
    .where(ConfirmedAnnotation.dataset_id == _of)
    .scalar_subquery()
    .label("confirmed"),
    _count(
        select(AnnotationTask.id)
        .where(AnnotationTask.dataset_id == _of, AnnotationTask.state == "open")
        .limit(MOST_OPEN)
    ).label("open_tasks"),
    _count(_ANSWERS.where(Annotation.outcome == "pending")).label("pending"),
    _count(
        _ANSWERS.where(
            Annotation.owner == bindparam("annotator", type_=String),
            Annotation.label.is_not(None),
            Annotation.withdrawn_at.is_(None),
            Annotation.review_id.is_(None),
        )
    ).label("answered_by_me"),
    _count(select(Review.id).where(Review.dataset_id == _of, Review.decision.is_(None))).label("in_review"),
)
