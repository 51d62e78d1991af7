"""The next task for a person. One claim is two statements, and only rare ones need more: annotators wait for this.

The way of a claim: the person's turn and the dataset's rules; then a look at what they hold and what they answered, with
the lease of an ordinary task where nothing else comes first (a task they hold, a lapsed lease, gold).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from learnloop.annotation.configured import COLUMNS, NAMES, Configured
from learnloop.annotation.gold import claim_gold, is_due
from learnloop.annotation.settling import SECOND_OPINION_PRIORITY as BEGUN
from learnloop.database import Annotation, AnnotationTask
from learnloop.database.textual import by_position
from learnloop.datasets.versions import no_dataset

FRONT = 50
"""How many tasks at the front of the queue a claim looks at before it takes one that nobody has begun."""

_LOCK = "pg_advisory_xact_lock(hashtextextended(concat('claim ', {dataset}, ' ', CAST(:annotator AS text)), 0))"
_TURN = text(f"SELECT {_LOCK.format(dataset='CAST(:dataset AS integer)')}")
_TURN_BY_ID, _TURN_BY_NAME, _TURN_BY_TASK = (
    by_position(
        f"SELECT {COLUMNS}, {_LOCK.format(dataset='datasets.id')} FROM datasets WHERE {which}",  # noqa: S608 - no value
        f"{NAMES}, turn",
    )
    for which in (
        "id = :dataset",
        "name = :dataset",
        "id = (SELECT dataset_id FROM annotation_tasks WHERE id = :task)",
    )
)
# OFFSET 0: else PostgreSQL looks for the lowest id by walking all tasks in that order.
_LOOK = """
    SELECT (SELECT min(id) FROM (
                SELECT id FROM annotation_tasks WHERE dataset_id = :dataset AND state = 'claimed' AND claimed_by = :annotator
                AND (lease_expires_at >= now() OR kind = 'gold') AND id <> :beside OFFSET 0) AS mine) AS held,
           (SELECT kind FROM annotation_tasks WHERE id = :beside AND dataset_id = :dataset AND state = 'claimed'
            AND claimed_by = :annotator) AS in_hand,
           EXISTS (SELECT 1 FROM annotation_tasks WHERE dataset_id = :dataset AND kind = 'label' AND state = 'claimed'
                   AND lease_expires_at < now()) AS lapsed,
           EXISTS (SELECT 1 FROM gold_questions WHERE dataset_id = :dataset)
           OR EXISTS (SELECT 1 FROM annotation_tasks WHERE dataset_id = :dataset AND owner = :annotator
                      AND kind = 'gold' AND state = 'open') AS gold,
           ARRAY(SELECT outcome FROM annotations WHERE dataset_id = :dataset AND owner = :annotator AND label IS NOT NULL
                 AND withdrawn_at IS NULL AND review_id IS NULL ORDER BY id DESC LIMIT :newest) AS newest
"""
_LOOKED = "held, in_hand, lapsed, gold, newest"
_HANDED = "id, kind, sample_id, path, object, prediction, reason, lease_expires_at"
_LEASE = """
    UPDATE annotation_tasks SET state = 'claimed', claimed_by = :annotator,
           lease_expires_at = now() + make_interval(secs => :seconds)
"""
_AGAIN = text(f"{_LEASE} WHERE id = :held AND state = 'claimed' AND claimed_by = :annotator RETURNING {_HANDED}")

# One statement: the first open task by priority, then age, that nobody else is claiming at this moment and that
# this person has not answered before. SKIP LOCKED lets annotators pass each other instead of queueing.
#
# Who answers faster than the others has many tasks at the front of the queue that wait for somebody else, and reading
# them all at each claim would cost more and more. So only the first FRONT are looked at; then those that nobody has begun,
# which an index range leads to; and only when there is none, all.
_MINE = "SELECT 1 FROM annotations WHERE task_id = task.id AND owner = :annotator"
_FREE = f"""
    task.dataset_id = :dataset AND task.state = 'open' AND (task.kind = 'label' OR task.owner = :annotator)
    AND NOT EXISTS ({_MINE} AND withdrawn_at IS NULL AND review_id IS NULL)
"""
# By the front's own columns: it comes in that order, so that nothing is read after the first that will do.
_FIRST = "ORDER BY {0}.priority DESC, {0}.id LIMIT 1 FOR UPDATE OF task SKIP LOCKED"
_NEXT = f"""
    COALESCE(
        (SELECT task.id FROM (
             SELECT id, priority FROM annotation_tasks WHERE dataset_id = :dataset AND state = 'open'
             ORDER BY priority DESC, id LIMIT {FRONT}) AS front
         JOIN annotation_tasks AS task ON task.id = front.id WHERE {_FREE} {_FIRST.format("front")}),
        (SELECT task.id FROM annotation_tasks AS task WHERE {_FREE} AND task.priority < {BEGUN} {_FIRST.format("task")}),
        (SELECT task.id FROM annotation_tasks AS task WHERE {_FREE} {_FIRST.format("task")})
    )
"""  # noqa: S608 - no value is in it
_CLAIM = text(f"{_LEASE} WHERE id = {_NEXT} RETURNING {_HANDED}")
# What is in a CASE that does not come true is not looked for, and not locked.
_LOOK_AND_CLAIM = by_position(
    f"""
    WITH look AS MATERIALIZED ({_LOOK}),
    leased AS (
        {_LEASE} WHERE id = CASE WHEN (SELECT held IS NULL AND NOT lapsed AND NOT gold FROM look) THEN {_NEXT} END
        RETURNING {_HANDED})
    SELECT {_LOOKED}, {_HANDED} FROM look LEFT JOIN leased ON true
    """,  # noqa: S608 - no value is in it
    f"{_LOOKED}, {_HANDED}",
)


@dataclass(frozen=True)
class Handed:
    """What a person is shown of a task that is theirs now."""

    id: int
    kind: str
    sample_id: str
    path: str
    object: str
    prediction: dict[str, Any]
    reason: dict[str, Any]
    lease_expires_at: datetime | None

    @classmethod
    def of(cls, task: AnnotationTask) -> Handed:
        shown = (task.id, task.kind, task.sample_id, task.path, task.object, task.prediction, task.reason)
        return cls(*shown, task.lease_expires_at)


def claim(
    session: Session, dataset_id: int, annotator: str, *, lease_seconds: int, beside: int | None = None
) -> AnnotationTask | None:
    """`hand_out`, for who needs the whole task."""
    session.flush()
    dataset = Configured.of(session.execute(_TURN_BY_ID, {"dataset": dataset_id, "annotator": annotator}).one())
    found = hand_out(session, dataset, annotator, lease_seconds=lease_seconds, beside=beside)
    session.flush()
    return None if found is None else session.get_one(AnnotationTask, found.id, populate_existing=True)


def claim_in(
    session: Session, name: str, annotator: str, *, beside: int | None = None
) -> tuple[Configured, Handed | None]:
    """`hand_out` in the dataset of this name; and the dataset.

    Raises:
        NotFound: there is no such dataset.
    """
    found = session.execute(_TURN_BY_NAME, {"dataset": name, "annotator": annotator}).one_or_none()
    if found is None:
        raise no_dataset(name)
    dataset = Configured.of(found)
    return dataset, hand_out(session, dataset, annotator, beside=beside)


def claim_after(session: Session, task_id: int, annotator: str) -> tuple[Configured, Handed | None]:
    """`hand_out` in the dataset of a task that there is."""
    dataset = Configured.of(session.execute(_TURN_BY_TASK, {"task": task_id, "annotator": annotator}).one())
    return dataset, hand_out(session, dataset, annotator)


def hand_out(
    session: Session,
    dataset: Configured,
    annotator: str,
    *,
    lease_seconds: int | None = None,
    beside: int | None = None,
) -> Handed | None:
    """Lease the next task to ``annotator``, who has their turn: the one they hold already, else a gold task when one is due,
    else the first open one; None when there is nothing for them.

    Args:
        lease_seconds: None: as the dataset says.
        beside: a task that they hold and have not answered yet. The one to follow it is leased in advance, so that nobody
            waits for it. They hold two then, and never more: the same again gives the same.
    """
    lease_seconds = lease_seconds or dataset.quality.lease_seconds
    whose = {"dataset": dataset.id, "annotator": annotator}
    lease = whose | {"seconds": lease_seconds}
    looked = lease | {"beside": beside or 0, "newest": dataset.quality.gold_every}
    look = session.execute(_LOOK_AND_CLAIM, looked).one()
    if look.id is not None:
        return Handed(*look[-len(fields(Handed)) :])
    if look.held is not None:
        again = session.execute(_AGAIN, lease | {"held": look.held}).one_or_none()
        if again is not None:
            return Handed(*again)
    if look.lapsed:
        return_lapsed(session, dataset.id)
    unanswered = look.in_hand is not None
    if look.gold and look.in_hand != "gold" and is_due(look.newest, dataset.quality, unanswered=int(unanswered)):
        gold = claim_gold(session, dataset.id, annotator, in_seconds(session, lease_seconds))
        if gold is not None:
            return Handed.of(gold)
    found = session.execute(_CLAIM, lease).one_or_none()
    if found is not None:
        return Handed(*found)
    # Nothing left for this person: what they answered since their last gold task must not wait for ever.
    # Not in advance, though: that there is nothing beside a gold task, and something beside another, would tell it.
    if unanswered or _pending(session, dataset.id, annotator) == 0:
        return None
    gold = claim_gold(session, dataset.id, annotator, in_seconds(session, lease_seconds))
    return None if gold is None else Handed.of(gold)


def take_turn(session: Session, dataset_id: int, annotator: str) -> None:
    """Two claims of one person at the same moment (two tabs, a repeated request) take turns, and get the same task."""
    session.execute(_TURN, {"dataset": dataset_id, "annotator": annotator})


def return_lapsed(session: Session, dataset_id: int) -> int:
    """Open a dataset's tasks again whose lease lapsed; returns how many."""
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


def in_seconds(session: Session, seconds: int) -> datetime:
    now: datetime = session.execute(select(func.now())).scalar_one()
    return now + timedelta(seconds=seconds)


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
