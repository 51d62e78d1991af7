"""Carry out what the dataset's policy says of a task's answers. Whoever calls holds the dataset's lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.annotation import pool
from learnloop.annotation.configured import Configured
from learnloop.annotation.quality.policy import Opinion, Verdict, decide, wanted
from learnloop.annotation.reviews import UNDECIDED, open_review
from learnloop.database import Annotation, AnnotationTask, QualityCheck
from learnloop.datasets.schema import QualityConfig

SECOND_OPINION_PRIORITY = 100
"""A task that somebody has answered comes before those that nobody has."""


@dataclass(frozen=True)
class Rules:
    """What a dataset's tasks are settled by."""

    quality: QualityConfig
    gold: bool
    stored_reliability: dict[str, object] | None

    @classmethod
    def of(cls, session: Session, dataset: Configured, *, gold: bool) -> Rules:
        quality, stored = dataset.quality, None
        if quality.consensus == "dawid_skene" and quality.overlap > 1:
            stored = session.scalars(
                select(QualityCheck.reliability)
                .where(QualityCheck.dataset_id == dataset.id, QualityCheck.reliability.is_not(None))
                .order_by(QualityCheck.id.desc())
                .limit(1)
            ).first()
        return cls(quality, gold, stored)

    def decide(self, sample_id: str, opinions: Sequence[Opinion]) -> Verdict:
        from learnloop.annotation.quality.dawid_skene import Reliability

        reliability = None if self.stored_reliability is None else Reliability.of(self.stored_reliability)
        asked = wanted(sample_id, self.quality)
        return decide(opinions, self.quality, asked=asked, gold=self.gold, reliability=reliability)


@dataclass(frozen=True)
class Stored:
    """What is stored of an answer, and of its task. ``priority``: at least so high."""

    state: str
    outcome: str
    reason: str = ""
    priority: int | None = None


def settled_alone(verdict: Verdict, answer: Stored) -> Stored:
    """What a verdict about a task's only answer makes of both, as :func:`settle` does with rows. Reviews are left to it."""
    if verdict.action == "confirm":
        return Stored("confirmed", "confirmed", verdict.rule)
    if verdict.action == "more":
        return Stored("open", answer.outcome, answer.reason, SECOND_OPINION_PRIORITY)
    return answer


def locked(session: Session, task_id: int) -> AnnotationTask:
    """The task as it is now, until the transaction ends."""
    return session.get_one(AnnotationTask, task_id, with_for_update=True, populate_existing=True)


def settle(session: Session, task: AnnotationTask, rules: Rules) -> bool:
    """Do what follows from the answers to a :func:`locked` task; returns whether the confirmed pool has grown."""
    if task.state not in ("open", "answered"):
        return False  # somebody else is answering it, a reviewer has it, or it is done
    answers = undecided(session, task)
    if not answers:
        return False
    opinions = [Opinion(answer.owner, str(answer.label), answer.outcome) for answer in answers]
    verdict = rules.decide(task.sample_id, opinions)
    if verdict.action == "confirm":
        newest = [answer for answer in answers if answer.label == verdict.label][-1]
        return confirm(session, task, newest, verdict.rule, answers)
    if verdict.action == "review":
        open_review(session, task, verdict.kind, verdict.rule)
    elif verdict.action == "more":
        reopen(task)
    else:
        task.state = "answered"
    session.flush()
    return False


def confirm(
    session: Session, task: AnnotationTask, answer: Annotation, rule: str, answers: Sequence[Annotation]
) -> bool:
    """Put the answer's label in the pool, and settle the other ``answers``; whether the pool has grown."""
    for other in answers:
        if other.id == answer.id:
            continue
        agrees = other.label == answer.label
        other.outcome = "confirmed" if agrees else "rejected"
        other.outcome_reason = f"{answer.owner} {'agrees' if agrees else f'says {answer.label}'} ({rule})"
    answer.outcome, answer.outcome_reason = "confirmed", rule
    task.state = "confirmed"
    task.claimed_by = task.lease_expires_at = None
    session.flush()
    return pool.put(
        session,
        dataset_id=task.dataset_id,
        batch_id=task.batch_id,
        sample_id=task.sample_id,
        annotation_id=answer.id,
        label=answer.label,
        rule=rule,
        owner=answer.owner,
    )


def reject_answers(session: Session, task: AnnotationTask, reason: str) -> None:
    for answer in undecided(session, task):
        answer.outcome, answer.outcome_reason = "rejected", reason


def reopen(task: AnnotationTask) -> None:
    task.state, task.priority = "open", max(task.priority, SECOND_OPINION_PRIORITY)
    task.claimed_by = task.lease_expires_at = None


def undecided(session: Session, task: AnnotationTask) -> Sequence[Annotation]:
    """The answers that count for or against a label, oldest first."""
    return session.scalars(
        select(Annotation)
        .where(
            Annotation.task_id == task.id,
            Annotation.review_id.is_(None),
            Annotation.withdrawn_at.is_(None),
            Annotation.outcome.in_(UNDECIDED),
        )
        .order_by(Annotation.id)
    ).all()
