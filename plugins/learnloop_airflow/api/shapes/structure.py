"""Searches for a better structure, and their trials."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class StructureSearchItem(BaseModel):
    """One run that asked whether the structure is still right. ``chosen`` is the number of a trial."""

    id: int
    run_id: str
    state: str
    reason: str
    facts: dict[str, Any]
    trials: int
    deadline: datetime | None
    outcome: str
    chosen: int | None
    owner: str
    created_at: datetime
    decided_at: datetime | None


class StructureTrialItem(BaseModel):
    """One structure that was tried; ``accuracy`` is cross-validated, ``model_version`` is as which it is kept."""

    number: int
    state: str
    structure: str
    reason: str
    accuracy: float | None
    latency_ms: float | None
    model_bytes: int | None
    on_front: bool | None
    model_version: int | None
    created_at: datetime
    ended_at: datetime | None


class StructureSearchDetails(StructureSearchItem):
    tried: list[StructureTrialItem]
