"""How far the loop of a dataset is: what the page and the API show."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, Dataset, Review, Round
from learnloop.loop.facts import facts_of, rules_of
from learnloop.loop.rounds import OPEN, waiting
from learnloop.training import policy


@dataclass(frozen=True)
class Progress:
    confirmed: int  # labels people confirmed, ever
    waiting: int  # of these, not yet used by a round
    needed: int  # how many start a round
    reason: str  # what the training policy says now: "17 more labels needed"
    open_tasks: int
    pending: int  # answers that wait for their check
    answered_by_me: int
    round: dict[str, object] | None  # the round under way: {"number", "state"}
    in_review: int  # samples that wait for a reviewer


def progress(session: Session, dataset: Dataset, annotator: str | None = None) -> Progress:
    """Count; reads only."""
    under_way = session.scalars(select(Round).where(Round.dataset_id == dataset.id, Round.state.in_(OPEN))).first()
    waits = waiting(session, dataset)
    rules = rules_of(dataset)
    facts = facts_of(session, dataset, waiting=waits, open_round=under_way.number if under_way else None)
    count = select(func.count())
    answers = count.select_from(Annotation).where(Annotation.dataset_id == dataset.id)
    return Progress(
        confirmed=session.scalar(
            count.select_from(ConfirmedAnnotation).where(ConfirmedAnnotation.dataset_id == dataset.id)
        )
        or 0,
        waiting=waits,
        needed=rules.labels,
        reason=policy.evaluate(facts, rules).reason,
        open_tasks=session.scalar(
            count.select_from(AnnotationTask).where(
                AnnotationTask.dataset_id == dataset.id, AnnotationTask.state == "open"
            )
        )
        or 0,
        pending=session.scalar(answers.where(Annotation.outcome == "pending")) or 0,
        answered_by_me=session.scalar(answers.where(*_given_by(annotator))) or 0,
        round={"number": under_way.number, "state": under_way.state} if under_way else None,
        in_review=session.scalar(
            count.select_from(Review).where(Review.dataset_id == dataset.id, Review.decision.is_(None))
        )
        or 0,
    )


def _given_by(annotator: str | None) -> tuple[ColumnElement[bool], ...]:
    return (
        Annotation.owner == annotator,
        Annotation.label.is_not(None),
        Annotation.withdrawn_at.is_(None),
        Annotation.review_id.is_(None),
    )
