"""Reservations and the queue."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class AmountsItem(BaseModel):
    """``cpu`` in cores, ``memory`` in bytes, ``gpu`` in devices."""

    cpu: float
    memory: int
    gpu: int


class PoolItem(BaseModel):
    """Of a node pool (null: the nodes of none): all it has, what others than jobs of ours use, what our jobs hold."""

    pool: str | None
    nodes: int
    total: AmountsItem
    others: AmountsItem
    held: AmountsItem


class CapacityInfo(BaseModel):
    """As it was when it was last decided who begins; ``decided_at`` is null, and ``pools`` empty, until that was."""

    admission: str
    decided_at: datetime | None
    pools: list[PoolItem]


class QueueItem(BaseModel):
    """A job that holds its part of a node (``state``: ``admitted`` or ``begun``), or waits for it at ``place`` in line.

    ``cpu`` in cores, ``memory`` in bytes. ``planned_at`` is when it is planned to begin as things are.
    """

    id: int
    user: str
    state: str
    place: int | None
    reason: str
    cpu: float
    memory: int
    gpu: int
    node_pool: str | None
    node: str | None
    priority: int
    asked_at: datetime
    planned_at: datetime | None
    admitted_at: datetime | None
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
