"""Answers that wait for a reviewer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel


class ReviewItem(BaseModel):
    """``facts``: what speaks against a suspected label. ``decision`` and what follows are null while it is open."""

    id: int
    dataset: str
    task_id: int
    sample_id: str
    kind: str
    reason: str
    facts: dict[str, Any]
    decision: Literal["confirm", "send_back", "reject"] | None
    label: str | None
    decision_reason: str
    decided_by: str | None
    decided_at: datetime | None
    owner: str
    created_at: datetime


class GivenAnswer(BaseModel):
    """``label`` is null for a skip; ``review`` is set when it is a reviewer's decision."""

    annotator: str
    label: str | None
    comment: str
    seconds: float | None
    outcome: str
    outcome_reason: str
    review: int | None
    created_at: datetime


class ReviewDetails(ReviewItem):
    """With everything that people said of the sample. ``confirmed_label`` is its label in the confirmed pool."""

    state: str
    confirmed_label: str | None
    content_url: str
    content_type: str
    prediction: dict[str, Any]
    classes: list[str]
    answers: list[GivenAnswer]
