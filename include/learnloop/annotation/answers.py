"""What becomes of an answer.

Lot acceptance: an answer is pending until its annotator's next gold task. A right gold answer confirms the lot; a wrong one
sends it to second opinions. Two people who agree confirm a label too. Without gold questions there is nothing to check
by, and an answer is confirmed at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from learnloop.annotation.queue import get_task
from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, Dataset, GoldQuestion
from learnloop.errors import Conflict, InvalidInput, PermissionDenied
from learnloop.loop.rounds import evaluate_policy, lock

SECOND_OPINION_PRIORITY = 100


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
    task = get_task(session, task_id)
    dataset = task.dataset
    lock(session, dataset)  # always the dataset first, then the task: one order, no deadlock
    task = session.get_one(AnnotationTask, task_id, with_for_update=True, populate_existing=True)
    if label not in classes_of(dataset):
        raise InvalidInput(
            f"{label!r} is not a class of {dataset.name}; its classes are {', '.join(classes_of(dataset))}"
        )
    before = session.scalars(
        select(Annotation).where(Annotation.task_id == task_id, Annotation.owner == annotator)
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
        raise Conflict(f"task {task_id} is {task.state}: it needs no answer any more")
    answer = Annotation(
        dataset_id=dataset.id,
        task_id=task.id,
        label=label,
        owner=annotator,
        seconds=seconds,
        comment=comment,
        task=task,
    )
    session.add(answer)
    task.claimed_by = task.lease_expires_at = None
    task.state = "answered"
    session.flush()
    confirmed = _check_gold(session, task, answer) if task.kind == "gold" else _check_label(session, task, answer)
    if confirmed:
        session.flush()
        evaluate_policy(session, dataset)
    return answer


def classes_of(dataset: Dataset) -> Sequence[str]:
    classes: Sequence[str] | None = dataset.loop.get("classes")
    if not classes:
        raise InvalidInput(f"dataset {dataset.name} has no classes: its dataset.yaml must list them")
    return classes


def _check_gold(session: Session, task: AnnotationTask, answer: Annotation) -> bool:
    """Accept or send back the lot that this gold task closes; returns whether anything was confirmed."""
    right = answer.label == task.gold_label
    answer.outcome = "gold_right" if right else "gold_wrong"
    task.state = "confirmed"
    lot = session.scalars(
        select(Annotation)
        .where(
            Annotation.dataset_id == task.dataset_id, Annotation.owner == answer.owner, Annotation.outcome == "pending"
        )
        .order_by(Annotation.id)
    ).all()
    for waiting in lot:
        if right:
            _confirm(session, waiting, "gold task passed")
        else:
            waiting.outcome = "second_opinion"
            waiting.outcome_reason = f"gold task {task.id} was answered wrongly"
            _reopen(waiting.task)
    return right and bool(lot)


def _check_label(session: Session, task: AnnotationTask, answer: Annotation) -> bool:
    """Confirm at once what two people agree on, or what there is nothing to check by."""
    others = session.scalars(
        select(Annotation).where(
            Annotation.task_id == task.id, Annotation.owner != answer.owner, Annotation.outcome == "second_opinion"
        )
    ).all()
    if any(other.label == answer.label for other in others):
        _confirm(session, answer, "two agree")
        return True
    has_gold = session.scalar(select(exists().where(GoldQuestion.dataset_id == task.dataset_id)))
    if not has_gold:
        _confirm(session, answer, "no gold questions to check by")
        return True
    return False


def _confirm(session: Session, answer: Annotation, rule: str) -> None:
    """Put the answer's label in the pool, and settle the earlier answers to the same task."""
    task = answer.task
    if task.batch_id is None or answer.label is None:
        raise ValueError(f"annotation {answer.id} cannot enter the pool")  # gold and skips never come here
    for other in session.scalars(
        select(Annotation).where(
            Annotation.task_id == task.id, Annotation.id != answer.id, Annotation.outcome == "second_opinion"
        )
    ):
        agrees = other.label == answer.label
        other.outcome = "confirmed" if agrees else "rejected"
        other.outcome_reason = f"{answer.owner} {'agrees' if agrees else 'says ' + answer.label} ({rule})"
    answer.outcome, answer.outcome_reason = "confirmed", rule
    task.state = "confirmed"
    session.add(
        ConfirmedAnnotation(
            dataset_id=task.dataset_id,
            batch_id=task.batch_id,
            annotation_id=answer.id,
            sample_id=task.sample_id,
            label=answer.label,
            confirmed_by=rule,
            owner=answer.owner,
        )
    )


def _reopen(task: AnnotationTask) -> None:
    task.state, task.priority = "open", SECOND_OPINION_PRIORITY
