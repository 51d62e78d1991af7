"""Rounds, decisions about training, scoring runs, and how right the models were."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from learnloop.loop.balance import ClassCount


class RoundItem(BaseModel):
    number: int
    state: str
    reason: str
    labels: int | None
    base_version: str | None
    version: str | None
    model_name: str | None
    parent_model_version: int | None
    model_version: int | None
    metrics: dict[str, Any]
    owner: str
    created_at: datetime
    started_at: datetime | None
    served_at: datetime | None
    finished_at: datetime | None


class RoundOpened(BaseModel):
    number: int
    state: str
    run_id: str


class Balance(BaseModel):
    items: list[ClassCount]


class DecisionItem(BaseModel):
    kind: str
    run_id: str
    accepted: bool
    reason: str
    comparison: dict[str, Any]
    owner: str
    created_at: datetime


class EvaluationItem(BaseModel):
    """What the training policy said when it was asked whether a round is due."""

    due: bool
    reason: str
    facts: dict[str, Any]
    created_at: datetime


class ScoringRunItem(BaseModel):
    """One pass of a model over a batch. ``summary``: mean confidence, how many were random, accuracies so far."""

    run_id: str
    batch: str
    model_version: int
    strategy: str
    scored: int
    chosen: int
    summary: dict[str, Any]
    owner: str
    created_at: datetime


class AccuracyItem(BaseModel):
    """Of a model version: how many samples drawn at random for it have a label, and about how many it was right."""

    model_version: int
    labelled: int
    right: int
    accuracy: float
    low: float
    high: float


class Accuracies(BaseModel):
    items: list[AccuracyItem]
