"""A task's only answer, settled before it is stored: what nearly every answer is.

Annotators wait for this, and of one dataset's answers one after the other is stored, under the lock of its row. So one
statement looks whether the answer is the only one, stores it with what becomes of it, puts it in the pool where it is
confirmed, and says what waits for a round then.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from learnloop.annotation.pool import PUT
from learnloop.annotation.settling import Stored
from learnloop.database.textual import by_position
from learnloop.loop.waiting import STANDING, Standing

STORED = """
    answered AS (
        UPDATE annotation_tasks SET state = :state, priority = greatest(priority, CAST(:priority AS integer)),
               claimed_by = NULL, lease_expires_at = NULL
        FROM {row} WHERE id = :task),
    stored AS (
        INSERT INTO annotations (dataset_id, task_id, label, comment, seconds, outcome, outcome_reason, owner)
        SELECT :dataset, :task, :label, :comment, :seconds, :outcome, :reason, :annotator FROM {row}
        RETURNING id)
"""
"""An answer, and its task with it, where there is a ``row``."""
# That there is gold was read before the locks were had, and a verdict was reached by it: it is looked at again.
_STORE = f"""
    WITH alone AS MATERIALIZED (
        SELECT 1 WHERE NOT EXISTS (
            SELECT 1 FROM annotations WHERE task_id = :task AND review_id IS NULL AND withdrawn_at IS NULL
            AND (owner = :annotator OR outcome IN ('pending', 'checked', 'second_opinion')))
        AND EXISTS (SELECT 1 FROM gold_questions WHERE dataset_id = :dataset) = :gold),
    {STORED.format(row="alone")}
"""  # noqa: S608 - no value is in it
_PENDING = by_position(f"{_STORE} SELECT stored.id FROM stored", "id")  # noqa: S608 - no value is in it
# What is counted is what stood before this label.
_CONFIRMED = by_position(
    f"""
    {_STORE},
    put AS ({PUT.format(annotation="stored.id", row="stored")})
    SELECT stored.id, put.id IS NOT NULL AS grown, before.under_way,
           before.waiting + CASE WHEN put.supersedes_id > before.used THEN 0 ELSE 1 END AS waiting
    FROM stored LEFT JOIN put ON true LEFT JOIN LATERAL ({STANDING}) AS before ON put.id IS NOT NULL
    """,  # noqa: S608 - no value is in it
    "id, grown, under_way, waiting",
)


@dataclass(frozen=True)
class Kept:
    """``answer``: its id. ``standing``: what waits for a round; None where the pool has not grown."""

    answer: int
    standing: Standing | None


def store_alone(
    session: Session, answer: dict[str, Any], stored: Stored, *, gold: bool, confirmed: bool
) -> Kept | None:
    """Store an answer to a task that the caller holds, with its dataset, under lock. None, and nothing is stored, when the
    person or somebody else has answered it, or when the dataset has gold questions and not ``gold`` (or the reverse).

    Args:
        answer: ``dataset``, ``task``, ``annotator``, ``label``, ``comment``, ``seconds``; ``batch`` and ``sample``.
    """
    values = answer | asdict(stored) | {"gold": gold}
    if not confirmed:
        found = session.execute(_PENDING, values).one_or_none()
        return None if found is None else Kept(found.id, None)
    found = session.execute(_CONFIRMED, values | {"rule": stored.reason}).one_or_none()
    if found is None:
        return None
    return Kept(found.id, Standing(found.waiting, found.under_way) if found.grown else None)
