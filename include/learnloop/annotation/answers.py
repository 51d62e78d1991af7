"""What becomes of an answer.

Lot acceptance: an answer is pending until its annotator's next gold task. A right gold answer vouches for the lot; a wrong
one sends it to second opinions. What follows for each sample is the dataset's policy (``quality.policy``).

What nearly every answer is, the only one to an ordinary task, is settled before it is stored (`learnloop.annotation.alone`).
What needs other answers looked at or changed (gold tasks, second opinions, reviews) goes by objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, exists, select, text
from sqlalchemy.orm import Session

from learnloop.annotation.alone import STORED, Kept, store_alone
from learnloop.annotation.configured import COLUMNS, NAMES, Configured
from learnloop.annotation.quality.policy import Opinion
from learnloop.annotation.quality.speed import Outlier, usual
from learnloop.annotation.queue import state_of
from learnloop.annotation.reviews import open_review
from learnloop.annotation.settling import Rules, Stored, locked, settle, settled_alone
from learnloop.database import Annotation, AnnotationTask, Dataset
from learnloop.database.textual import by_position
from learnloop.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from learnloop.loop.rounds import ask_policy
from learnloop.loop.waiting import standing

# The dataset first, then the task: one order everywhere, no deadlock. NO KEY UPDATE: see `loop.rounds.lock_by_id`.
_TAKE = by_position(
    f"""
    WITH dataset AS MATERIALIZED (
        SELECT {COLUMNS} FROM datasets WHERE id = (SELECT dataset_id FROM annotation_tasks WHERE id = :task)
        FOR NO KEY UPDATE)
    SELECT dataset.*, task.kind, task.sample_id, task.batch_id, task.state, task.claimed_by, task.gold_label,
           EXISTS (SELECT 1 FROM gold_questions WHERE dataset_id = dataset.id) AS gold
    FROM dataset JOIN annotation_tasks AS task ON task.dataset_id = dataset.id
    WHERE task.id = :task FOR UPDATE OF task
    """,  # noqa: S608 - no value is in it
    f"{NAMES}, kind, sample_id, batch_id, state, claimed_by, gold_label, gold",
)
# A statement of its own, for it must see what was committed before the locks were had.
_LOOK = text(
    """
    SELECT before.id AS before, before.label,
           EXISTS (SELECT 1 FROM gold_questions WHERE dataset_id = :dataset) AS gold
    FROM (SELECT 1) AS row LEFT JOIN annotations AS before
         ON before.task_id = :task AND before.owner = :annotator
            AND before.withdrawn_at IS NULL AND before.review_id IS NULL
    """
)
_STORE = text(f"WITH {STORED.format(row='(SELECT 1) AS row')} SELECT id FROM stored")  # noqa: S608 - no value is in it


def submit(
    session: Session, task_id: int, annotator: str, label: str, *, seconds: float | None = None, comment: str = ""
) -> Annotation:
    """`store`, for who needs the whole answer."""
    session.flush()
    made = store(session, task_id, annotator, label, seconds=seconds, comment=comment)
    session.get_one(AnnotationTask, task_id, populate_existing=True)
    return session.get_one(Annotation, made, populate_existing=True)


def store(
    session: Session, task_id: int, annotator: str, label: str, *, seconds: float | None = None, comment: str = ""
) -> int:
    """Store an answer, and do what follows from it, in one transaction; returns the answer's id.

    The same answer by the same person again is the first one; so a doubled or repeated submit does no harm. An answer whose
    lease lapsed is taken as long as nobody else took the task.

    Raises:
        InvalidInput: the label is not a class of the dataset.
        PermissionDenied: the person does not hold the task.
        Conflict: this person answered differently before, or the task needs no answer any more.
        NotFound: there is no such task.
    """
    task = session.execute(_TAKE, {"task": task_id}).one_or_none() if 0 < task_id < 2**31 else None
    if task is None:
        raise NotFound(f"there is no task {task_id}")
    dataset = Configured.of(task)
    if label not in (classes := classes_of(dataset)):
        raise InvalidInput(f"{label!r} is not a class of {dataset.name}; its classes are {', '.join(classes)}")
    answer = {
        "dataset": dataset.id,
        "task": task_id,
        "annotator": annotator,
        "label": label,
        "comment": comment,
        "seconds": seconds,
    }
    held = task.claimed_by == annotator and task.state in ("claimed", "open")
    kept = _alone(session, dataset, answer, task) if task.kind == "label" and held else None
    if kept is None:
        return _among_others(session, dataset, answer, task)
    if kept.standing is not None:
        ask_policy(session, dataset, kept.standing)
    return kept.answer


def _alone(session: Session, dataset: Configured, answer: dict[str, Any], task: Row[Any]) -> Kept | None:
    """Store it as the task's only answer; None when it is not, or when a reviewer is asked."""
    rules = Rules.of(session, dataset, gold=task.gold)
    outlier = _outlier(session, dataset, answer, rules)
    if outlier is not None and outlier.action == "review":
        return None
    stored = Stored("answered", "pending") if outlier is None else Stored("answered", "second_opinion", outlier.reason)
    verdict = rules.decide(task.sample_id, [Opinion(answer["annotator"], answer["label"], stored.outcome)])
    if verdict.action == "review":
        return None
    return store_alone(
        session,
        answer | {"sample": task.sample_id, "batch": task.batch_id},
        settled_alone(verdict, stored),
        gold=task.gold,
        confirmed=verdict.action == "confirm",
    )


def _among_others(session: Session, dataset: Configured, answer: dict[str, Any], task: Row[Any]) -> int:
    """Store it, and settle what it decides among other answers; the one that this person gave before, if it is the same."""
    annotator, label = answer["annotator"], answer["label"]
    look = session.execute(_LOOK, answer).one()
    if look.before is not None:
        if look.label == label:
            return int(look.before)
        raise Conflict(f"{annotator} has answered task {answer['task']} already; the first answer stands")
    _check_holder(task.state, task.claimed_by, answer["task"], annotator)
    rules = Rules.of(session, dataset, gold=look.gold)
    gold = task.kind == "gold"
    outlier = None if gold else _outlier(session, dataset, answer, rules)
    if gold:
        stored = Stored("confirmed", "gold_right" if label == task.gold_label else "gold_wrong")
    elif outlier is not None:
        stored = Stored("answered", "pending" if outlier.action == "review" else "second_opinion", outlier.reason)
    else:
        stored = Stored("answered", "pending")
    made: int = session.execute(_STORE, answer | asdict(stored)).scalar_one()
    if _settle_with_others(session, answer["task"], made, rules, outlier):
        ask_policy(session, dataset, standing(session, dataset))
    return made


def classes_of(dataset: Dataset | Configured) -> Sequence[str]:
    classes: Sequence[str] | None = dataset.loop.get("classes")
    if not classes:
        raise InvalidInput(f"dataset {dataset.name} has no classes: its dataset.yaml must list them")
    return classes


def _check_holder(state: str, claimed_by: str | None, task_id: int, annotator: str) -> None:
    if state == "claimed" and claimed_by != annotator:
        raise PermissionDenied(f"task {task_id} is {claimed_by}'s: claim a task of your own")
    if state == "open" and claimed_by != annotator:  # the last holder of a lapsed lease is let through
        raise PermissionDenied(f"task {task_id} is in the queue and not {annotator}'s: claim a task first")
    if state not in ("claimed", "open"):
        raise Conflict(f"task {task_id} is {state_of(state)}: it needs no answer any more")


def _settle_with_others(session: Session, task_id: int, answer_id: int, rules: Rules, outlier: Outlier | None) -> bool:
    """What follows from an answer that is not the only one, or is for a reviewer; whether the pool has grown."""
    task = locked(session, task_id)
    answer = session.get_one(Annotation, answer_id)
    if task.kind == "gold":
        grown = _check_gold(session, task, answer, rules)
    elif outlier is not None and outlier.action == "review":
        open_review(session, task, outlier.kind, f"{answer.owner}'s answer: {outlier.reason}")
        grown = False
    else:
        grown = settle(session, task, rules)
    session.flush()
    return grown


def _check_gold(session: Session, task: AnnotationTask, answer: Annotation, rules: Rules) -> bool:
    """Vouch for the lot that this gold task closes, or send it back; returns whether anything was confirmed."""
    if _taken_back_before(session, answer):
        return False
    right = answer.outcome == "gold_right"
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


def _outlier(session: Session, dataset: Configured, answer: dict[str, Any], rules: Rules) -> Outlier | None:
    if answer["seconds"] is None or rules.quality.fast_answers == rules.quality.slow_answers == "accept":
        return None
    return usual(session, dataset.id, answer["annotator"]).outlier(answer["seconds"], rules.quality)
