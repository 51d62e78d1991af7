"""Annotation tasks and what was answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel


class TaskItem(BaseModel):
    """``chosen_by``: the query strategy and its figures, and ``sent_back``, a reviewer's words. ``prediction``: what the
    model guesses.
    """

    id: int
    dataset: str
    sample_id: str
    task_type: str
    path: str
    content_type: str
    content_url: str
    prediction: dict[str, Any]
    classes: list[str]
    chosen_by: dict[str, Any]
    lease_expires_at: datetime | None


class QueuedItem(BaseModel):
    """A task in a list. ``label`` and ``confidence`` are the model's. Of what the caller skipped, ``skip_reason`` is
    told, and ``priority``, ``batch`` and ``created_at`` are null.
    """

    id: int
    sample_id: str
    state: str
    label: str | None
    confidence: float | None
    strategy: str | None
    priority: int | None
    batch: str | None
    created_at: datetime | None
    skip_reason: str | None


class Undone(BaseModel):
    """``task`` is null when somebody else is answering the sample just now."""

    task: TaskItem | None


class Received(BaseModel):
    """``next``: the next task, where it was asked for and there is one."""

    id: int
    task_id: int
    received: Literal[True]
    next: TaskItem | None = None


class Skipped(BaseModel):
    task_id: int
    skipped: Literal[True]


class Renewed(BaseModel):
    task_id: int
    lease_expires_at: datetime | None
