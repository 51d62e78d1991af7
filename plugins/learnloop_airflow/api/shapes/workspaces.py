"""Workspaces."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class WorkspaceItem(BaseModel):
    """``state`` is ``expired`` for one that can still be used, until ``removed_at``."""

    name: str
    dataset: str
    base: str
    path: str
    state: str
    writable: bool
    bytes: int
    created_at: datetime
    expires_at: datetime | None
    removed_at: datetime | None


class Committed(BaseModel):
    name: str
    files: int
    bytes: int


class Discarded(BaseModel):
    discarded: bool
