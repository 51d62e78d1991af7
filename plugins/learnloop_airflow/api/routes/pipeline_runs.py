"""Runs of pipelines: started, watched, cancelled, begun again where they failed, compared."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from sqlalchemy import bindparam, select

from learnloop.database import PipelineRun, PipelineVersion, reading
from learnloop.datasets.allowed import allowed_folder
from learnloop.datasets.history import visible_version
from learnloop.errors import InvalidInput, NotFound, Unavailable
from learnloop.permissions import Principal, authorize
from learnloop.pipelines.comparing import compare, tail
from learnloop.pipelines.names import NO_STAGES, dag_id_of
from learnloop.pipelines.runs import begun, find_run, forget_results, stages_of
from learnloop.pipelines.stored import find, visible
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import TEXT, Body, line
from learnloop_airflow.api.paging import Cursor, Limit, newest_first, page
from learnloop_airflow.api.routes.runs import progress_of
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.pipelines import (
    PipelineAsked,
    PipelineRunChanged,
    PipelineRunDetails,
    PipelineRunItem,
    PipelineRunStarted,
    RunComparison,
    StageLog,
)

routes = Routes()

INCREMENTAL = "pipeline_incremental_training"

Id = Annotated[str, Path(min_length=1, max_length=250, pattern=TEXT)]
StageName = Annotated[str, Path(min_length=1, max_length=63, pattern=TEXT)]

_RUNS = newest_first(
    select(
        PipelineRun.id,
        PipelineRun.run_id,
        PipelineVersion.number.label("version"),
        PipelineRun.owner,
        PipelineRun.created_at,
    )
    .join(PipelineVersion, PipelineVersion.id == PipelineRun.version_id)
    .where(PipelineVersion.pipeline_id == bindparam("pipeline")),
    PipelineRun.id,
)


class Rerun(Body):
    """``stage``: begin again from there; null: from what failed."""

    stage: Annotated[str, line(least=1, most=63)] | None = None


class Incremental(Body):
    """``annotations_path``: a Parquet file on the server's machine, with ``sample_id`` and ``label``."""

    dataset_version: Annotated[str, line(least=1, most=400)]
    annotations_path: Annotated[str, line(least=1, most=1000)]
    personal: bool = False


@routes.add("POST", "/pipelines/{name}/runs", "pipeline:run", status_code=202, response_model=PipelineRunStarted)
def start_run(name: str, caller: Caller) -> dict[str, Any]:
    """Start a run of the newest version. Right after it was applied, this waits until Airflow has it."""
    from learnloop_airflow.pipelines.airflow_runs import start

    with reading() as db:
        version = find(db, name, user=caller.name).number
    return {"dag_id": dag_id_of(name), "run_id": start(name, version, user=caller.name), "version": version}


@routes.add("GET", "/pipelines/{name}/runs", "pipeline:read", response_model=Page[PipelineRunItem])
def list_runs(name: str, caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Runs that have begun, the newest first."""
    from learnloop_airflow.pipelines.airflow_runs import states

    with reading() as db:
        found = page(db, _RUNS, limit, cursor, pipeline=visible(db, name, user=caller.name).id)
    known = states(name, [item["run_id"] for item in found["items"]])
    return {**found, "items": [{**item, "state": known.get(item["run_id"])} for item in found["items"]]}


@routes.add("GET", "/pipelines/{name}/runs/{run_id}", "pipeline:read", response_model=PipelineRunDetails)
def show_run(name: str, run_id: Id, caller: Caller) -> dict[str, Any]:
    """A run and its stages: states, progress, results. ``GET /runs/{dag_id}/{run_id}/stream`` tells them as they change."""
    from learnloop_airflow.pipelines.airflow_runs import owner_of

    dag_id = dag_id_of(name)
    with reading() as db:
        visible(db, name, user=caller.name)
        seen = progress_of(dag_id, run_id)
        run = begun(db, dag_id, run_id)
        rows = {} if run is None else stages_of(db, run)
        version = None if run is None else run.version.number
    stages = [
        {
            "stage": task["task_id"],
            "state": task["state"],
            "tries": task["try_number"],
            "started_at": task["started_at"],
            "ended_at": task["ended_at"],
            "progress": task["progress"],
            "result": rows[task["task_id"]].result if task["task_id"] in rows else None,
        }
        for task in seen["tasks"]
        if task["task_id"] not in NO_STAGES
    ]
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "version": version,
        "state": seen["state"],
        "owner": owner_of(name, run_id),
        "pins": {} if run is None else run.pins,
        "stages": stages,
    }


@routes.add(
    "POST",
    "/pipelines/{name}/runs/{run_id}/cancel",
    "pipeline:run",
    status_code=202,
    response_model=PipelineRunChanged,
    errors=(409,),
)
def cancel_run(name: str, run_id: Id, caller: Caller) -> dict[str, Any]:
    """End one's own run: its jobs are killed. 409 when it has ended."""
    from learnloop_airflow.pipelines.airflow_runs import cancel

    _own(name, run_id, caller)
    cancel(name, run_id)
    return {"run_id": run_id, "stages": []}


@routes.add(
    "POST",
    "/pipelines/{name}/runs/{run_id}/rerun",
    "pipeline:run",
    status_code=202,
    response_model=PipelineRunChanged,
    errors=(409,),
)
def rerun(name: str, run_id: Id, wanted: Rerun, caller: Caller) -> dict[str, Any]:
    """Run again what failed in one's own run, and what waited for it; what ended well is kept. 409 while it is under way.

    With ``stage``, that one and all after it run anew, whatever they had come to.
    """
    from learnloop_airflow.pipelines import airflow_runs

    _own(name, run_id, caller)
    stages = airflow_runs.rerun(name, run_id, wanted.stage)
    if wanted.stage is not None:
        with reading() as db:
            if (run := begun(db, dag_id_of(name), run_id)) is not None:
                forget_results(db, run, stages)
    return {"run_id": run_id, "stages": stages}


@routes.add("GET", "/pipelines/{name}/runs/{run_id}/stages/{stage}/log", "pipeline:read", response_model=StageLog)
def show_log(name: str, run_id: Id, stage: StageName, caller: Caller) -> dict[str, Any]:
    """What a stage of one's own run printed last."""
    from pathlib import Path as File

    with reading() as db:
        visible(db, name, user=caller.name)
        run = find_run(db, dag_id_of(name), run_id)
        authorize(caller, "pipeline:read", owner=run.owner)
        row = stages_of(db, run).get(stage)
    if row is None:
        raise NotFound(f"stage {stage!r} of run {run_id} has not begun, or there is none")
    return {"lines": tail(File(row.results_dir))}


@routes.add("GET", "/pipelines/{name}/runs/{run_id}/diff", "pipeline:read", response_model=RunComparison)
def compare_runs(
    name: str,
    run_id: Id,
    caller: Caller,
    to: Annotated[str, Query(min_length=1, max_length=250, pattern=TEXT, description="The run to compare with.")],
    pipeline: Annotated[str | None, Query(max_length=63, pattern=TEXT, description="That run's, if another.")] = None,
    stage: Annotated[str | None, Query(max_length=63, pattern=TEXT)] = None,
) -> dict[str, Any]:
    """Stage by stage, what is other in the later run: configuration, metrics, and (of one's own runs) logs."""
    other = pipeline or name
    with reading() as db:
        for each in (name, other):
            visible(db, each, user=caller.name)
        runs = find_run(db, dag_id_of(name), run_id), find_run(db, dag_id_of(other), to)
        before, after = (stages_of(db, run) for run in runs)
    logs = all(caller.name == run.owner or caller.roles & {"admin", "Admin"} for run in runs)
    names = [each for each in dict.fromkeys([*before, *after]) if stage in (None, each)]
    if not names:
        raise NotFound(f"neither run has begun {'a stage' if stage is None else f'stage {stage!r}'}")
    return {"stages": [compare(each, before.get(each), after.get(each), logs=logs) for each in names]}


@routes.add("POST", "/pipelines/{name}/incremental", "pipeline:run", status_code=202, response_model=PipelineAsked)
def train_incrementally(name: str, wanted: Incremental, caller: Caller) -> dict[str, Any]:
    """Train the pipeline on a version with the labels of a file put in: the DAG ``pipeline_incremental_training``."""
    from learnloop_airflow.pipelines.airflow_runs import start_dag

    configured = settings()
    with reading() as db:
        find(db, name, user=caller.name)
        visible_version(db, wanted.dataset_version, caller.name)
    labels = allowed_folder(wanted.annotations_path, **configured.whose(caller.name))
    if not labels.is_file():
        raise InvalidInput(f"there is no file {wanted.annotations_path}")
    conf = {**wanted.model_dump(), "base_pipeline": name}
    run_id = start_dag(INCREMENTAL, user=caller.name, conf=conf)
    if run_id is None:
        raise Unavailable(f"Airflow has no DAG {INCREMENTAL} yet: try again in a moment")
    return {"dag_id": INCREMENTAL, "run_id": run_id}


def _own(name: str, run_id: str, caller: Principal) -> None:
    from learnloop_airflow.pipelines.airflow_runs import owner_of

    with reading() as db:
        visible(db, name, user=caller.name)
    authorize(caller, "pipeline:run", owner=owner_of(name, run_id) or "nobody")
