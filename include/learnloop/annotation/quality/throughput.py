"""How much each annotator answers, day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.orm import Session

from learnloop.database import Dataset


@dataclass(frozen=True)
class PersonDay:
    """One person's answers of one day (UTC). ``seconds``: how long they took for those whose time is known."""

    annotator: str
    day: date
    answers: int  # gold ones too: a count without them would tell them apart
    skipped: int
    timed: int  # how many of them have a time
    seconds: float


# A gold task that was answered anew after an undo counts once, like any other: what was taken back is left out.
_DAYS = """
    SELECT owner AS annotator, (created_at AT TIME ZONE 'UTC')::date AS day,
           count(*) FILTER (WHERE label IS NOT NULL) AS answers,
           count(*) FILTER (WHERE label IS NULL) AS skipped,
           count(*) FILTER (WHERE label IS NOT NULL AND seconds IS NOT NULL) AS timed,
           coalesce(sum(seconds) FILTER (WHERE label IS NOT NULL), 0) AS seconds
    FROM annotations
    WHERE dataset_id = :dataset AND review_id IS NULL AND withdrawn_at IS NULL
      AND created_at >= (date_trunc('day', now() AT TIME ZONE 'UTC') - make_interval(days => :days - 1)) AT TIME ZONE 'UTC'
      {whose}
    GROUP BY owner, day ORDER BY day, owner
"""
# Two statements, so that a person's own figures read just their own answers, by an index.
_EVERYBODYS = text(_DAYS.format(whose=""))
_ONES = text(_DAYS.format(whose="AND owner = :annotator"))


def by_day(session: Session, dataset: Dataset, *, days: int, annotator: str | None = None) -> list[PersonDay]:
    """Of the last ``days`` days, today with them, those on which somebody answered or skipped; the oldest first.

    ``annotator``: theirs only.
    """
    values = {"dataset": dataset.id, "days": days}
    if annotator is None:
        rows = session.execute(_EVERYBODYS, values)
    else:
        rows = session.execute(_ONES, {**values, "annotator": annotator})
    return [PersonDay(**row) for row in rows.mappings()]
