"""Mounts and what they cost."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class NextBestClass(BaseModel):
    """``more``: so much more all mounts would cost together with this one there."""

    storage_class: str
    more: float


class MountChoiceItem(BaseModel):
    """Where a mount goes. ``refused``: why not into the other storage classes, by their names."""

    mount: str
    storage_class: str
    cost: float
    next_best: NextBestClass | None
    refused: dict[str, str]


class MountEstimate(BaseModel):
    """``cost`` is for as long as each mount stays; ``explanation`` is the same in words."""

    currency: str
    cost: float
    choices: list[MountChoiceItem]
    explanation: list[str]


class TaskMounts(MountEstimate):
    task_id: str
    map_index: int
    owner: str
    pipeline: str
    created_at: datetime


class RunMounts(BaseModel):
    items: list[TaskMounts]
