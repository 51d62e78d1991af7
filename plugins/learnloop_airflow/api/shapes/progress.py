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


class RunProgress(BaseModel):
    dag_id: str
    run_id: str
    state: str
    tasks: list[TaskProgress]
