"""Models, their versions and where they are deployed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from learnloop.models.promotion import Moved


class DeploymentItem(BaseModel):
    model_name: str
    alias: str
    model_version: int
    previous_version: int | None
    canary_version: int | None
    canary_percent: int
    generation: int
    owner: str
    updated_at: datetime


class ModelName(BaseModel):
    name: str


class ModelVersionItem(BaseModel):
    name: str
    version: int
    aliases: list[str]
    metrics: dict[str, float | None]
    tags: dict[str, str]
    created_at: datetime


class ModelVersionDetails(ModelVersionItem):
    """``scores`` is what its evaluation measured; null when it was never decided about."""

    scores: dict[str, Any] | None


class SideBySide(BaseModel):
    """``figures`` and ``per_class`` are each ``before``, ``after`` and ``change``."""

    model: str
    before: int
    after: int
    same_data: bool
    figures: dict[str, Any]
    per_class: dict[str, Any]
    confusion: dict[str, Any]


class MovedAliases(BaseModel):
    moved: list[Moved]
