"""Datasets, their guides, versions, batches and branches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class DatasetItem(BaseModel):
    """``head`` is the newest shared version."""

    name: str
    task_type: str
    description: str
    classes: list[str]
    head: str | None
    owner: str
    created_at: datetime


class StyledClass(BaseModel):
    """``color`` is ``#rrggbb``, ``key`` a digit or capital letter; null where nobody chose."""

    label: str
    color: str | None
    key: str | None


class GuideItem(BaseModel):
    """``instructions`` are Markdown. ``updated_by`` and ``updated_at`` are null until somebody has written one."""

    instructions: str
    classes: list[StyledClass]
    updated_by: str | None
    updated_at: datetime | None


class VersionItem(BaseModel):
    name: str
    tree: str
    files: int
    bytes: int
    message: str
    provenance: dict[str, Any]
    parents: list[str]
    owner: str
    created_at: datetime


class VersionMade(BaseModel):
    name: str
    dataset: str
    tree: str
    files: int
    bytes: int


class Restored(BaseModel):
    version: str
    target: str
    files: int


class BatchItem(BaseModel):
    name: str
    samples: int
    tree: str
    owner: str
    created_at: datetime


class BranchItem(BaseModel):
    name: str
    owner: str
    purpose: str
    expires_at: datetime
