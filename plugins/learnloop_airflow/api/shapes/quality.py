"""How far answers can be trusted."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from learnloop.annotation.quality.throughput import PersonDay


class PersonFigures(BaseModel):
    """A rate is null while there is nothing to divide by."""

    annotator: str
    answers: int
    skipped: int
    withdrawn: int
    waiting: int
    confirmed: int
    rejected: int
    gold_answered: int
    gold_right: int
    gold_accuracy: float | None
    accepted: float | None
    median_seconds: float | None
    fast: int
    slow: int


class OwnAnswer(BaseModel):
    """``reason`` and ``instead`` (the label that was confirmed) are of rejected answers."""

    id: int
    sample_id: str
    label: str
    comment: str
    outcome: Literal["confirmed", "rejected"]
    reason: str
    instead: str | None
    created_at: datetime


class Throughput(BaseModel):
    items: list[PersonDay]


class PairAgreement(BaseModel):
    people: list[str]
    samples: int
    cohen_kappa: float | None


class Agreement(BaseModel):
    """Beyond chance, from -1 to 1; null where it is not defined. ``samples`` have two answers or more."""

    samples: int
    krippendorff_alpha: float | None
    fleiss_kappa: float | None
    fleiss_answers: int | None
    pairs: list[PairAgreement]


class CheckItem(BaseModel):
    """``reliability``: classes, their priors, and each annotator's confusion (rows: the true class)."""

    answers: int
    confirmed: int
    suspected: int
    reliability: dict[str, Any] | None
    created_at: datetime


class QualityDetails(BaseModel):
    policy: dict[str, Any]
    people: list[PersonFigures]
    agreement: Agreement
    check: CheckItem | None
