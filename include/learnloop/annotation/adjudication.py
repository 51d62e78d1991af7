"""A reviewer decides."""

from __future__ import annotations

from sqlalchemy import func
from sqlalchemy.orm import Session

from learnloop.annotation import pool
from learnloop.annotation.answers import classes_of
from learnloop.annotation.reviews import answers_to, get_review
from learnloop.annotation.settling import confirm, locked, reject_answers, reopen, undecided
from learnloop.database import Annotation, AnnotationTask, Review
from learnloop.errors import Conflict, InvalidInput
from learnloop.loop.rounds import evaluate_policy, lock

DECISIONS = ("confirm", "send_back", "reject")


def adjudicate(
    session: Session, review_id: int, reviewer: str, decision: str, *, label: str | None = None, reason: str = ""
) -> Review:
    """Decide a review, in one transaction with all that follows; the same decision by the same person again does no harm.

    ``confirm`` puts ``label`` into the confirmed pool; a label that was there is superseded. ``send_back`` rejects the
    answers and asks others. ``reject`` says that the sample is not to be used; nobody is asked about it again.

    Args:
        reason: needed unless one of the answers is confirmed; people see it beside their answers that were rejected
            (`own_answers`), and whoever gets a task that was sent back, beside the task.

    Raises:
        NotFound: there is no such review.
        InvalidInput: a label is missing, not a class, or given where none belongs; the reason is missing.
        Conflict: somebody decided otherwise before; or a confirmed label is to be sent back or rejected.
    """
    review = get_review(session, review_id)
    dataset = review.dataset
    lock(session, dataset)
    session.refresh(review, with_for_update=True)
    reason = reason.strip()
    if review.decision is not None:
        if (review.decision, review.label, review.decided_by) == (decision, label, reviewer):
            return review
        raise Conflict(f"review {review_id} is decided: {review.decided_by} chose {_said(review)}")
    task = locked(session, review.task_id)
    before = pool.in_force(session, task.dataset_id, task.sample_id)
    grown = False
    if decision == "confirm":
        _check_label(session, review, task, label, reason, None if before is None else before.label)
        answer = Annotation(
            dataset_id=dataset.id,
            task_id=task.id,
            label=label,
            comment=reason,
            owner=reviewer,
            review_id=review.id,
            outcome="confirmed",
        )
        session.add(answer)
        session.flush()
        grown = confirm(session, task, answer, f"reviewed by {reviewer}", undecided(session, task))
        _correct_confirmed(session, task, answer)
    elif decision in DECISIONS:
        if label is not None:
            raise InvalidInput(f"a label belongs to the decision confirm, and not to {decision}")
        if not reason:
            raise InvalidInput(f"say why: the people whose answers are rejected see the reason of {decision}")
        if before is not None:
            raise Conflict(
                f"sample {task.sample_id} is in the confirmed pool as {before.label}: confirm that label or another;"
                " what is confirmed can be corrected, but not taken out"
            )
        reject_answers(session, task, f"{reviewer}: {reason}")
        if decision == "send_back":
            reopen(task)
            task.reason = {**task.reason, "sent_back": f"{reviewer}: {reason}"}  # whoever has it next is told
        else:
            task.state = "rejected"
    else:
        raise InvalidInput(f"{decision!r} is no decision: it is one of {', '.join(DECISIONS)}")
    review.decision, review.label, review.decision_reason = decision, label, reason
    review.decided_by, review.decided_at = reviewer, func.now()
    session.flush()
    if grown:
        evaluate_policy(session, dataset)
    return review


def _correct_confirmed(session: Session, task: AnnotationTask, decided: Annotation) -> None:
    """Answers that were confirmed with another label were wrong after all; their rows in the pool stay, superseded."""
    for earlier in answers_to(session, task):
        if earlier.outcome == "confirmed" and earlier.label != decided.label:
            earlier.outcome = "rejected"
            earlier.outcome_reason = f"corrected by {decided.owner} to {decided.label}: {decided.comment}".rstrip(": ")


def _check_label(
    session: Session, review: Review, task: AnnotationTask, label: str | None, reason: str, confirmed: str | None
) -> None:
    classes = classes_of(review.dataset)
    if label is None:
        raise InvalidInput(f"confirm which label? The classes are {', '.join(classes)}")
    if label not in classes:
        raise InvalidInput(f"{label!r} is not a class of {review.dataset.name}; its classes are {', '.join(classes)}")
    given = {answer.label for answer in answers_to(session, task)} | {confirmed}
    if label not in given and not reason:
        raise InvalidInput(f"nobody has answered {label!r}: say why it is right")


def _said(review: Review) -> str:
    return f"{review.decision} {review.label}" if review.label is not None else str(review.decision)
