"""Runs of pipelines, as our rows have them: what a run fixed, what its stages ran and left."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion, Pipeline, PipelineRun, PipelineVersion, StageRun
from learnloop.datasets.reading import read_lease
from learnloop.errors import NotFound, PermissionDenied
from learnloop.jobs.contract import CHECKPOINT, RESULT, Places
from learnloop.jobs.spec import JobSpec
from learnloop.pipelines.graph import Graph
from learnloop.pipelines.inputs import pin


def begin(
    session: Session, graph: Graph, *, version: int, dag_id: str, run_id: str, user: str, lasts: timedelta
) -> dict[str, Any]:
    """Begin a run, or begin it again: what it reads is fixed once, and leased for ``lasts`` each time.

    Returns:
        ``run`` (its id), ``pins`` (stage -> input -> `inputs.Pinned`) and ``leases`` (their ids).

    Raises:
        NotFound: what a stage reads is gone, or no longer for ``user``.
        PermissionDenied: the pipeline is another person's alone.
    """
    row = session.scalars(
        select(PipelineVersion)
        .join(Pipeline, Pipeline.id == PipelineVersion.pipeline_id)
        .where(Pipeline.name == graph.name, PipelineVersion.number == version)
    ).one()
    if row.pipeline.personal_to not in (None, user):
        raise PermissionDenied(
            f"pipeline {graph.name} is personal to {row.pipeline.personal_to}: {user} may not run it"
        )
    found = begun(session, dag_id, run_id)
    if found is None:
        pins = {
            name: {key: pin(session, wanted, user) for key, wanted in stage.inputs.items() if wanted.stage is None}
            for name, stage in graph.stages.items()
        }
        found = PipelineRun(version_id=row.id, dag_id=dag_id, run_id=run_id, pins=pins, owner=user)
        session.add(found)
        session.flush()
    leases = []
    read = {each["version_id"] for inputs in found.pins.values() for each in inputs.values() if "version_id" in each}
    for version_id in sorted(read):
        dataset_version = session.get(DatasetVersion, version_id)
        if dataset_version is None:
            raise NotFound(f"a dataset version that run {run_id} reads was deleted")
        leases.append(read_lease(session, dataset_version, user, lasts, purpose_of(graph.name, run_id)).id)
    return {"run": found.id, "pins": found.pins, "leases": leases}


def purpose_of(name: str, run_id: str) -> str:
    """What the leases of a run say they are for."""
    return f"pipeline {name}, run {run_id}"[:200]


def stage_begins(session: Session, run: int, stage: str, spec: JobSpec, places: Places, *, tries: int) -> None:
    """Keep what a stage is about to run, at which try. Tried again, it is the same row."""
    values = {
        "tries": tries,
        "spec": spec.model_dump(mode="json", exclude={"secrets"}),
        "results_dir": str(places.results),
        "models_dir": str(places.models),
        "result": None,
        "ended_at": None,
    }
    row = insert(StageRun).values(run_id=run, stage=stage, owner=spec.user, **values)
    session.execute(row.on_conflict_do_update(index_elements=["run_id", "stage"], set_=values))


def stage_ended(session: Session, run: int, stage: str, result: dict[str, Any]) -> None:
    """Keep what came of it."""
    row = session.get_one(StageRun, (run, stage))
    row.result, row.ended_at = result, func.now()


def begun(session: Session, dag_id: str, run_id: str) -> PipelineRun | None:
    """A run by Airflow's names, once it has fixed what it reads."""
    wanted = select(PipelineRun).where(PipelineRun.dag_id == dag_id, PipelineRun.run_id == run_id)
    return session.scalars(wanted).one_or_none()


def find_run(session: Session, dag_id: str, run_id: str) -> PipelineRun:
    """The same.

    Raises:
        NotFound: there is none, or it has not begun.
    """
    found = begun(session, dag_id, run_id)
    if found is None:
        raise NotFound(f"run {run_id!r} has not begun, or there is none")
    return found


def forget_results(session: Session, run: PipelineRun, stages: Sequence[str]) -> None:
    """Have stages do their work anew when they run again: without this a job that has its result gives that back."""
    rows = stages_of(session, run)
    for results in (Path(rows[stage].results_dir) for stage in stages if stage in rows):
        (results / RESULT).unlink(missing_ok=True)
        shutil.rmtree(results / CHECKPOINT, ignore_errors=True)


def stages_of(session: Session, run: PipelineRun) -> dict[str, StageRun]:
    return {row.stage: row for row in session.scalars(select(StageRun).where(StageRun.run_id == run.id))}
