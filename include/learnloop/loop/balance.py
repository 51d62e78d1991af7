"""How many confirmed labels each class has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from learnloop.database import Dataset

_COUNTS = text(
    """
    SELECT pool.label, count(*) AS confirmed, count(*) FILTER (WHERE used.confirmed_id IS NULL) AS waiting
    FROM confirmed_annotations AS pool
    LEFT JOIN round_annotations AS used ON used.confirmed_id = pool.id
    WHERE pool.dataset_id = :dataset
      AND NOT EXISTS (SELECT 1 FROM confirmed_annotations AS newer WHERE newer.supersedes_id = pool.id)
    GROUP BY pool.label
    """
)


@dataclass(frozen=True)
class ClassCount:
    """``confirmed`` samples have this label now; ``waiting`` of them no round has taken yet."""

    label: str
    confirmed: int
    waiting: int


def balance(session: Session, dataset: Dataset) -> list[ClassCount]:
    """Of each class, in the dataset's order; then of labels that are no class any more. Reads only."""
    found = {row.label: (row.confirmed, row.waiting) for row in session.execute(_COUNTS, {"dataset": dataset.id})}
    classes: Sequence[str] = dataset.loop.get("classes") or ()
    names = [*classes, *sorted(set(found) - set(classes))]
    return [ClassCount(name, *found.get(name, (0, 0))) for name in names]
