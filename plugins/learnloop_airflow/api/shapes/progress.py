"""How far tasks and runs are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class TaskProgress(BaseModel):
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None
    progress: Any


class TaskUsage(BaseModel):
    """What a try's job used; null: not measured. Memory is in bytes. ``cpus`` and
    ``gpus``: processors and GPUs busy for it, on average.
    """

    task_id: str
    map_index: int
    try_number: int
    runner: str
    owner: str
    ended_at: datetime
    seconds: float
    asked_cpu: float
    cpus: float | None
    cpu_seconds: float | None
    asked_memory: int
    memory_bytes: int | None
    asked_gpu: int
    gpu_memory_bytes: int | None
    gpus: float | None
    words: str


class RunUsage(BaseModel):
    items: list[TaskUsage]


class RunProgress(BaseModel):
    dag_id: str
    run_id: str
    state: str
    tasks: list[TaskProgress]
