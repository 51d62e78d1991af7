"""What is known of each annotator's answers in a dataset."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from learnloop.database import Dataset
from learnloop.datasets.schema import loop_config

GOLD_STEP = 5
"""Of their own checked answers a person is told in steps of so many gold tasks: from a figure that moved with each answer
they could read which samples are gold, and their labels by trying."""


@dataclass(frozen=True)
class Figures:
    """Counts of one person's answers; a rate is None while there is nothing to divide by."""

    annotator: str
    answers: int  # gold ones too: a count without them would tell them apart
    skipped: int
    withdrawn: int
    waiting: int  # answers that nothing has been decided about
    confirmed: int
    rejected: int
    gold_answered: int
    gold_right: int
    median_seconds: float | None
    fast: int  # answers far faster than is usual in the dataset
    slow: int  # and far slower: often who did not sit there

    @property
    def gold_accuracy(self) -> float | None:
        return self.gold_right / self.gold_answered if self.gold_answered else None

    @property
    def accepted(self) -> float | None:
        """The share of the decided answers that were confirmed."""
        decided = self.confirmed + self.rejected
        return self.confirmed / decided if decided else None

    def shown(self) -> dict[str, Any]:
        return {**asdict(self), "gold_accuracy": self.gold_accuracy, "accepted": self.accepted}


# Only answers to gold tasks have outcomes that say gold. A gold task is one person's; when they took their answer back and
# gave another, the first is the one that counts.
_FIGURES = """
    WITH given AS (
        SELECT id, owner, label, outcome, withdrawn_at, seconds,
               row_number() OVER (PARTITION BY task_id, owner ORDER BY id) AS nth
        FROM annotations AS annotation
        WHERE annotation.dataset_id = :dataset AND annotation.review_id IS NULL {whose}
    ),
    usual AS (
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median FROM (
            SELECT seconds FROM annotations WHERE dataset_id = :dataset ORDER BY id DESC LIMIT 200) AS newest
    ),
    decided AS (
        SELECT owner,
               count(*) FILTER (WHERE outcome = 'confirmed') AS confirmed,
               count(*) FILTER (WHERE outcome = 'rejected') AS rejected,
               count(*) FILTER (WHERE nth = 1 AND outcome LIKE 'gold\\_%') AS gold_answered,
               count(*) FILTER (WHERE nth = 1 AND outcome = 'gold_right') AS gold_right
        FROM given WHERE id <= :upto GROUP BY owner
    )
    SELECT given.owner AS annotator,
           count(*) FILTER (WHERE label IS NOT NULL AND withdrawn_at IS NULL) AS answers,
           count(*) FILTER (WHERE outcome = 'skipped' AND withdrawn_at IS NULL) AS skipped,
           count(*) FILTER (WHERE withdrawn_at IS NOT NULL) AS withdrawn,
           count(*) FILTER (WHERE outcome IN ('pending', 'checked', 'second_opinion')) AS waiting,
           coalesce(max(decided.confirmed), 0) AS confirmed,
           coalesce(max(decided.rejected), 0) AS rejected,
           coalesce(max(decided.gold_answered), 0) AS gold_answered,
           coalesce(max(decided.gold_right), 0) AS gold_right,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median_seconds,
           count(*) FILTER (WHERE seconds < :fast * (SELECT median FROM usual)) AS fast,
           count(*) FILTER (WHERE seconds > :slow * (SELECT median FROM usual)) AS slow
    FROM given LEFT JOIN decided ON decided.owner = given.owner
    GROUP BY given.owner ORDER BY given.owner
"""
# Two statements, so that a person's own figures read just their own answers, by an index.
_EVERYBODYS = text(_FIGURES.format(whose=""))
_ONES = text(_FIGURES.format(whose="AND annotation.owner = :annotator"))
_EVERYTHING = 2**31 - 1


def everybodys(session: Session, dataset: Dataset) -> list[Figures]:
    """Everybody who has answered or skipped anything, by name."""
    return _figures(session, dataset, None, _EVERYTHING)


def own(session: Session, dataset: Dataset, annotator: str) -> Figures:
    """What a person may know of themselves: what was decided about their answers, in steps of ``GOLD_STEP`` gold tasks."""
    before = told_before(session, dataset.id, annotator)
    found = _figures(session, dataset, annotator, _EVERYTHING if before is None else before)
    if not found:
        return Figures(annotator, 0, 0, 0, 0, 0, 0, 0, 0, None, 0, 0)
    (figures,) = found
    # What waits would move with each gold task, too: as they are told, everything waits that they are not told of.
    waiting = max(0, figures.answers - figures.confirmed - figures.rejected - figures.gold_answered)
    return Figures(**{**asdict(figures), "waiting": waiting})


def _figures(session: Session, dataset: Dataset, annotator: str | None, upto: int) -> list[Figures]:
    quality = loop_config(dataset.loop).quality
    values = {"dataset": dataset.id, "upto": upto, "fast": quality.fast_ratio, "slow": quality.slow_ratio}
    if annotator is None:
        rows = session.execute(_EVERYBODYS, values)
    else:
        rows = session.execute(_ONES, {**values, "annotator": annotator})
    return [Figures(**row) for row in rows.mappings()]


def told_before(session: Session, dataset_id: int, annotator: str) -> int | None:
    """The id of the answer up to which the person is told what was decided: their last gold answer whose number is a
    multiple of ``GOLD_STEP``; 0 when there is none yet, None (all is told) where there are no gold tasks.
    """
    has_gold = session.scalar(
        text("SELECT EXISTS (SELECT 1 FROM gold_questions WHERE dataset_id = :dataset)"), {"dataset": dataset_id}
    )
    if not has_gold:
        return None
    found = session.scalar(
        text(
            """
            SELECT max(id) FROM (
                SELECT annotation.id, row_number() OVER (ORDER BY annotation.id) AS nth
                FROM annotations AS annotation JOIN annotation_tasks AS task ON task.id = annotation.task_id
                WHERE annotation.dataset_id = :dataset AND annotation.owner = :annotator
                  AND task.kind = 'gold' AND annotation.label IS NOT NULL) AS gold
            WHERE nth % :step = 0
            """
        ),
        {"dataset": dataset_id, "annotator": annotator, "step": GOLD_STEP},
    )
    return found or 0
