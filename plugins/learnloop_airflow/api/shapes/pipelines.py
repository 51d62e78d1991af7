"""Pipelines, their versions and runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from learnloop.pipelines.comparing import StageComparison
from learnloop_airflow.api.shapes.mounts import MountEstimate


class PipelineItem(BaseModel):
    """``dag_id`` is what Airflow calls it; ``extends`` is ``{name}@{version}`` of its base."""

    name: str
    version: int
    description: str
    dag_id: str
    stages: list[str]
    extends: str | None
    personal: bool
    owner: str
    created_at: datetime


class MountsAhead(BaseModel):
    """What the mounts of the next run would cost, null without any; ``cannot``: why they cannot be made as things are."""

    estimate: MountEstimate | None
    cannot: str | None


class PipelineDetails(PipelineItem):
    """``declaration`` is as it was given, ``whole`` with nothing left to the base. ``derived``: pipelines that extend it."""

    message: str
    provenance: dict[str, Any]
    declaration: str
    whole: dict[str, Any]
    mounts: MountsAhead
    derived: list[str]


class PipelineApplied(BaseModel):
    """``version`` is null when it was only checked; ``whole`` is what would run, with nothing left to the base."""

    name: str
    version: int | None
    dag_id: str
    extends: str | None
    whole: dict[str, Any]
    mounts: MountsAhead


class PipelineVersionItem(BaseModel):
    """``removed``: with it the pipeline was taken out of Airflow."""

    number: int
    message: str
    extends: str | None
    removed: bool
    provenance: dict[str, Any]
    owner: str
    created_at: datetime


class PipelineRemoved(BaseModel):
    removed: bool


class PipelineReleased(BaseModel):
    """How much of each kind was given back."""

    released: dict[str, int]


class PipelineRunStarted(BaseModel):
    dag_id: str
    run_id: str
    version: int


class PipelineAsked(BaseModel):
    """The run that makes the pipeline and waits for it."""

    dag_id: str
    run_id: str


class PipelineRunItem(BaseModel):
    """``state`` is Airflow's; null when it has forgotten the run."""

    run_id: str
    version: int
    state: str | None
    owner: str
    created_at: datetime


class StageItem(BaseModel):
    """``state`` is Airflow's, null before it is looked at. ``result`` is what its job reported, once it has ended well."""

    stage: str
    state: str | None
    tries: int
    started_at: datetime | None
    ended_at: datetime | None
    progress: dict[str, Any] | None
    result: dict[str, Any] | None


class PipelineRunDetails(BaseModel):
    """``pins``: by stage and input, what it was fixed to. ``version`` is null until the run has begun."""

    dag_id: str
    run_id: str
    version: int | None
    state: str
    owner: str | None
    pins: dict[str, Any]
    stages: list[StageItem]


class PipelineRunChanged(BaseModel):
    """``stages``: what will run again."""

    run_id: str
    stages: list[str]


class StageLog(BaseModel):
    """The last lines that the job printed."""

    lines: list[str]


class RunComparison(BaseModel):
    stages: list[StageComparison]
