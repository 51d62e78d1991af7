"""Locks on datasets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from learnloop.datasets.waiting import Place
from learnloop_airflow.api.shapes.datasets import BranchItem


class LockItem(BaseModel):
    """A lease on a dataset. ``token`` is its fencing token; 0 for a read lease, which writes nothing."""

    mode: Literal["read", "write"]
    token: int
    owner: str
    purpose: str
    created_at: datetime
    expires_at: datetime


class Leases(BaseModel):
    locks: list[LockItem]
    waiting: list[Place]
    branches: list[BranchItem]


class Released(BaseModel):
    released: bool


class Withdrawn(BaseModel):
    withdrawn: bool
