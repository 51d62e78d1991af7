"""What becomes of an answer.

Lot acceptance: an answer is pending until its annotator's next gold task. A right gold answer vouches for the lot; a wrong
one sends it to second opinions. What follows for each sample is the dataset's policy (``quality.policy``).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from learnloop.annotation.quality.speed import usual
from learnloop.annotation.queue import dataset_of, state_of
from learnloop.annotation.reviews import open_review
from learnloop.annotation.settling import Rules, locked, settle
from learnloop.database import Annotation, AnnotationTask, Dataset
from learnloop.errors import Conflict, InvalidInput, PermissionDenied
from learnloop.loop.rounds import evaluate_policy, lock_by_id


def submit(
    session: Session, task_id: int, annotator: str, label: str, *, seconds: float | None = None, comment: str = ""
) -> Annotation:
    """Store an answer, and do what follows from it, in one transaction.

    The same answer by the same person again is the first one; so a doubled or repeated submit does no harm. An answer whose
    lease lapsed is taken as long as nobody else took the task.

    Raises:
        InvalidInput: the label is not a class of the dataset.
        PermissionDenied: the person does not hold the task.
        Conflict: this person answered differently before, or the task needs no answer any more.
        NotFound: there is no such task.
    """
    # Always the dataset first, then the task: one order, no deadlock.
    dataset = lock_by_id(session, dataset_of(session, task_id))
    task = locked(session, task_id)
    if label not in classes_of(dataset):
        raise InvalidInput(
            f"{label!r} is not a class of {dataset.name}; its classes are {', '.join(classes_of(dataset))}"
        )
    before = session.scalars(
        select(Annotation).where(
            Annotation.task_id == task_id,
            Annotation.owner == annotator,
            Annotation.withdrawn_at.is_(None),
            Annotation.review_id.is_(None),
        )
    ).one_or_none()
    if before is not None:
        if before.label == label:
            return before
        raise Conflict(f"{annotator} has answered task {task_id} already; the first answer stands")
    if task.state == "claimed" and task.claimed_by != annotator:
        raise PermissionDenied(f"task {task_id} is {task.claimed_by}'s: claim a task of your own")
    if task.state == "open" and task.claimed_by != annotator:  # the last holder of a lapsed lease is let through
        raise PermissionDenied(f"task {task_id} is in the queue and not {annotator}'s: claim a task first")
    if task.state not in ("claimed", "open"):
        raise Conflict(f"task {task_id} is {state_of(task)}: it needs no answer any more")
    answer = Annotation(
        dataset_id=dataset.id,
        task_id=task.id,
        label=label,
        owner=annotator,
        seconds=seconds,
        comment=comment,
        outcome="pending",
        task=task,
    )
    rules = Rules.of(session, dataset)
    suspicious = None if task.kind == "gold" else _too_fast(session, answer, rules)
    session.add(answer)
    task.claimed_by = task.lease_expires_at = None
    task.state = "answered"
    session.flush()
    if task.kind == "gold":
        confirmed = _check_gold(session, task, answer, rules)
    else:
        confirmed = _check_label(session, task, answer, rules, suspicious)
    if confirmed:
        session.flush()
        evaluate_policy(session, dataset)
    return answer


def classes_of(dataset: Dataset) -> Sequence[str]:
    classes: Sequence[str] | None = dataset.loop.get("classes")
    if not classes:
        raise InvalidInput(f"dataset {dataset.name} has no classes: its dataset.yaml must list them")
    return classes


def _check_gold(session: Session, task: AnnotationTask, answer: Annotation, rules: Rules) -> bool:
    """Vouch for the lot that this gold task closes, or send it back; returns whether anything was confirmed."""
    right = answer.label == task.gold_label
    answer.outcome = "gold_right" if right else "gold_wrong"
    task.state = "confirmed"
    if _taken_back_before(session, answer):
        return False
    lot = session.scalars(
        select(Annotation)
        .where(
            Annotation.dataset_id == task.dataset_id, Annotation.owner == answer.owner, Annotation.outcome == "pending"
        )
        .order_by(Annotation.id)
    ).all()
    for waiting in lot:
        waiting.outcome = "checked" if right else "second_opinion"
        waiting.outcome_reason = "" if right else f"gold task {task.id} was answered wrongly"
    session.flush()
    grown = [settle(session, locked(session, waiting.task_id), rules) for waiting in lot]
    return any(grown)


def _taken_back_before(session: Session, answer: Annotation) -> bool:
    """Whether this is the second answer to a gold task: what followed from the first stands, and nothing from this."""
    first = exists().where(
        Annotation.task_id == answer.task_id,
        Annotation.owner == answer.owner,
        Annotation.withdrawn_at.is_not(None),
        Annotation.label.is_not(None),
    )
    return bool(session.scalar(select(first)))


def _check_label(
    session: Session, task: AnnotationTask, answer: Annotation, rules: Rules, suspicious: str | None
) -> bool:
    if suspicious is not None:
        answer.outcome_reason = suspicious
        if rules.quality.fast_answers == "review":
            open_review(session, task, "fast", f"{answer.owner}'s answer: {suspicious}")
            return False
        answer.outcome = "second_opinion"
    return settle(session, task, rules)


def _too_fast(session: Session, answer: Annotation, rules: Rules) -> str | None:
    if answer.seconds is None or rules.quality.fast_answers == "accept":
        return None
    return usual(session, answer.dataset_id, answer.owner).too_fast(answer.seconds, rules.quality.fast_ratio)
