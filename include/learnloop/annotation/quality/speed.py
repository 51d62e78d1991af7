"""Answers that came far faster than usual: somebody did not look."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

ENOUGH = 20
"""What is usual is not known from fewer answers."""

_USUAL = text(
    """
    SELECT (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FROM (
                SELECT seconds FROM annotations WHERE dataset_id = :dataset AND owner = :annotator
                ORDER BY id DESC LIMIT 100) AS mine
            HAVING count(seconds) >= :enough) AS person,
           (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FROM (
                SELECT seconds FROM annotations WHERE dataset_id = :dataset
                ORDER BY id DESC LIMIT 200) AS everybodys
            HAVING count(seconds) >= :enough) AS dataset
    """
)


@dataclass(frozen=True)
class Usual:
    """Median seconds an answer, of the newest ones; None while too few are known."""

    person: float | None
    dataset: float | None

    def too_fast(self, seconds: float | None, ratio: float) -> str | None:
        """Why an answer after ``seconds`` is suspicious: below ``ratio`` times what is usual. None when it is not."""
        if seconds is None:
            return None
        if self.person is not None and seconds < ratio * self.person:
            return f"answered in {seconds:.1f} s where {self.person:.1f} s is usual for this person"
        if self.dataset is not None and seconds < ratio * self.dataset:
            return f"answered in {seconds:.1f} s where {self.dataset:.1f} s is usual in this dataset"
        return None


def usual(session: Session, dataset_id: int, annotator: str) -> Usual:
    """What is usual now: bounded reads, however many answers there are."""
    found = session.execute(_USUAL, {"dataset": dataset_id, "annotator": annotator, "enough": ENOUGH}).one()
    return Usual(found.person, found.dataset)
