"""Confirmed labels that wait for a round.

A round takes all there is, and labels are confirmed and rounds opened under one lock: what was confirmed before the newest
label that a round has used is used or superseded, and what came after it is unused. So nothing before it is looked at, and
how many came after it is told by their numbers: with every confirmed label this is asked, and there may be many.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from learnloop.loop.facts import Looped

# Of the newest round that holds any: those of a failed one went back. An index by round and label leads to it.
_NEWEST_USED = """
    coalesce((
        SELECT used.confirmed_id FROM rounds
        CROSS JOIN LATERAL (SELECT confirmed_id FROM round_annotations WHERE round_id = rounds.id
                            ORDER BY confirmed_id DESC LIMIT 1) AS used
        WHERE rounds.dataset_id = :dataset ORDER BY rounds.number DESC LIMIT 1), 0)
"""
_UNUSED = f"""
    FROM confirmed_annotations AS confirmed WHERE dataset_id = :dataset AND id > {_NEWEST_USED}
    AND NOT EXISTS (SELECT 1 FROM confirmed_annotations AS newer WHERE newer.supersedes_id = confirmed.id)
"""  # noqa: S608 - no value is in it
STANDING = f"""
    SELECT used.id AS used,
           coalesce((SELECT max(number) FROM confirmed_annotations WHERE dataset_id = :dataset), 0)
         - coalesce((SELECT number FROM confirmed_annotations WHERE id = used.id), 0)
         - (SELECT count(*) FROM confirmed_annotations WHERE dataset_id = :dataset AND supersedes_id > used.id) AS waiting,
           (SELECT number FROM rounds WHERE dataset_id = :dataset AND state IN ('requested', 'running')) AS under_way
    FROM (SELECT {_NEWEST_USED} AS id OFFSET 0) AS used
"""  # noqa: S608 - no value is in it
"""The newest label that a round has used (0: none), how many wait, and the number of the round under way, if there is one.

A row that supersedes one that waited waits in its stead.
"""
_STANDING = text(STANDING)
_SINCE = text(f"SELECT count(*), extract(epoch FROM now() - min(confirmed_at)) {_UNUSED}")  # noqa: S608 - no value is in it
_IDS = text(f"SELECT id {_UNUSED} ORDER BY id")


@dataclass(frozen=True)
class Standing:
    """How many confirmed labels no round has used, and the number of the round under way, if there is one."""

    waiting: int
    under_way: int | None


def standing(session: Session, dataset: Looped) -> Standing:
    found = session.execute(_STANDING, {"dataset": dataset.id}).one()
    return Standing(found.waiting, found.under_way)


def waiting(session: Session, dataset: Looped) -> int:
    """How many confirmed labels no round has used."""
    return standing(session, dataset).waiting


def waiting_since(session: Session, dataset: Looped) -> tuple[int, float | None]:
    """How many confirmed labels no round has used, and how many seconds ago the oldest of them was confirmed."""
    count, seconds = session.execute(_SINCE, {"dataset": dataset.id}).one()
    return count, None if seconds is None else float(seconds)


def unused(session: Session, dataset: Looped) -> list[int]:
    """The ids of confirmed labels that no round has used, oldest first."""
    return list(session.scalars(_IDS, {"dataset": dataset.id}))
