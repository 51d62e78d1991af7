"""Merge requests and their conflicts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel


class MergeItem(BaseModel):
    """``ours`` is the head, ``theirs`` is merged into it; ``version`` is what came of it."""

    id: int
    dataset: str
    state: Literal["open", "merged", "cancelled"]
    ours: str
    theirs: str
    base: str | None
    version: str | None
    message: str
    owner: str
    created_at: datetime


class ConflictItem(BaseModel):
    """``values`` are the three sides'; ``shown`` are the same in words."""

    id: int
    kind: Literal["file", "record", "setting"]
    path: str
    key: str
    field: str
    values: dict[str, Any]
    shown: dict[str, str]
    advice: dict[str, Any]
    answer: Literal["ours", "theirs", "base"] | None
    answer_reason: str
    answered_by: str | None


class MergeDetails(MergeItem):
    conflicts: list[ConflictItem]


class MergeAnswer(MergeItem):
    """How a merge stands: the number of its conflicts, and of those without an answer."""

    conflicts: int
    unanswered: int
    notes: list[str]
