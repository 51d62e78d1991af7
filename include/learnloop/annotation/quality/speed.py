"""Answers that came far faster than usual (somebody did not look) or far slower (they were away, or could not tell).

Slow ones are no fault of quality: they are told in people's figures, and go further only where the dataset says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from learnloop.datasets.schema import QualityConfig

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
class Outlier:
    """An answer whose time the dataset does not accept: what is done about it, and why, in words."""

    kind: Literal["fast", "slow"]
    action: Literal["second_opinion", "review"]
    reason: str


@dataclass(frozen=True)
class Usual:
    """Median seconds an answer, of the newest ones; None while too few are known."""

    person: float | None
    dataset: float | None

    def outlier(self, seconds: float | None, quality: QualityConfig) -> Outlier | None:
        """What is wrong with the time of an answer by the dataset's policy; None when nothing is."""
        if quality.fast_answers != "accept" and (reason := self.too_fast(seconds, quality.fast_ratio)):
            return Outlier("fast", quality.fast_answers, reason)
        if quality.slow_answers != "accept" and (reason := self.too_slow(seconds, quality.slow_ratio)):
            return Outlier("slow", quality.slow_answers, reason)
        return None

    def too_fast(self, seconds: float | None, ratio: float) -> str | None:
        """Why an answer after ``seconds`` is suspicious: below ``ratio`` times what is usual. None when it is not."""
        if seconds is None:
            return None
        if self.person is not None and seconds < ratio * self.person:
            return f"answered in {seconds:.1f} s where {self.person:.1f} s is usual for this person"
        if self.dataset is not None and seconds < ratio * self.dataset:
            return f"answered in {seconds:.1f} s where {self.dataset:.1f} s is usual in this dataset"
        return None

    def too_slow(self, seconds: float | None, ratio: float) -> str | None:
        """Why an answer after ``seconds`` stands out: above ``ratio`` times what is usual for the person, or in the dataset
        while that is not known: who is always slow does not stand out. None when it does not.
        """
        if seconds is None:
            return None
        if self.person is not None:
            if seconds > ratio * self.person:
                return f"answered in {seconds:.1f} s where {self.person:.1f} s is usual for this person"
        elif self.dataset is not None and seconds > ratio * self.dataset:
            return f"answered in {seconds:.1f} s where {self.dataset:.1f} s is usual in this dataset"
        return None


def usual(session: Session, dataset_id: int, annotator: str) -> Usual:
    """What is usual now: bounded reads, however many answers there are."""
    found = session.execute(_USUAL, {"dataset": dataset_id, "annotator": annotator, "enough": ENOUGH}).one()
    return Usual(found.person, found.dataset)
