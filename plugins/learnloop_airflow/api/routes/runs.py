"""How far a run of Airflow's is: its tasks, and the progress of its jobs, once or as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from learnloop.database import JobUsage, reading
from learnloop.errors import NotFound
from learnloop.events import usage
from learnloop.events.log import topic_of_run
from learnloop.events.progress import of_run
from learnloop.jobs.usage import Usage, words
from learnloop.pipelines.names import pipeline_of
from learnloop.pipelines.stored import visible
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.live import For, told
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.progress import RunProgress, RunUsage, TaskUsage

routes = Routes()

Id = Annotated[str, Path(min_length=1, max_length=250, pattern=r"^[^\x00]*$")]
ENDED = ("success", "failed")
LOOK_SECONDS = 2.0
"""Airflow notifies of no task's state: it is looked at while somebody watches."""


def existing(dag_id: Id, run_id: Id, caller: Caller) -> None:
    """Before a stream begins: once it has, no status can say that there is nothing to watch."""
    _refuse_personal(dag_id, caller.name)
    progress_of(dag_id, run_id)


@routes.add("GET", "/runs/{dag_id}/{run_id}/progress", "pipeline:read", response_model=RunProgress)
def get_progress(dag_id: Id, run_id: Id, caller: Caller) -> dict[str, Any]:
    """The run's state; each task's state, times, and what its job last said of its progress."""
    _refuse_personal(dag_id, caller.name)
    return progress_of(dag_id, run_id)


@routes.add("GET", "/runs/{dag_id}/{run_id}/usage", "pipeline:read", response_model=RunUsage)
def get_usage(dag_id: Id, run_id: Id, caller: Caller) -> dict[str, Any]:
    """What each job of the run used, beside what it asked for. Empty for a run whose jobs have not ended."""
    _refuse_personal(dag_id, caller.name)
    with reading() as db:
        rows = usage.of_run(db, dag_id, run_id)
    return {"items": [_used(row) for row in rows]}


@routes.add("GET", "/runs/{dag_id}/{run_id}/stream", "pipeline:read", response_class=EventSourceResponse)
async def stream_progress(
    request: Request, caller: Caller, dag_id: Id, run_id: Id, _: Annotated[None, Depends(existing)], seconds: For = 600
) -> AsyncIterator[ServerSentEvent]:
    """The same as it happens: an event ``task`` for each task that changed, last of all ``run`` with how it ended."""
    known: dict[tuple[str, int], dict[str, Any]] = {}
    ended = False

    def look() -> list[ServerSentEvent] | None:
        nonlocal ended
        if ended:
            return None
        now = progress_of(dag_id, run_id)
        found = []
        for task in now["tasks"]:
            key = (task["task_id"], task["map_index"])
            if known.get(key) != task:
                known[key] = task
                found.append(ServerSentEvent(event="task", data=task))
        ended = now["state"] in ENDED
        if ended:
            found.append(ServerSentEvent(event="run", data={name: now[name] for name in ("dag_id", "run_id", "state")}))
        return found

    async for event in told(
        request, caller.name, topic_of_run(dag_id, run_id), look, every=LOOK_SECONDS, seconds=seconds
    ):
        yield event


def _refuse_personal(dag_id: str, user: str) -> None:
    """Raise NotFound for a pipeline that is another person's alone."""
    name = pipeline_of(dag_id)
    if name is not None:
        with reading() as db:
            visible(db, name, user=user)


def _used(row: JobUsage) -> dict[str, Any]:
    used = Usage(row.seconds, row.cpu_seconds, row.memory_bytes, row.gpu_memory_bytes, row.gpus)
    said = words(used, cpu=row.asked_cpu, memory_bytes=row.asked_memory, gpu=row.asked_gpu)
    names = [name for name in TaskUsage.model_fields if name not in ("ended_at", "cpus", "words")]
    return {
        **{name: getattr(row, name) for name in names},
        "ended_at": row.created_at,
        "cpus": used.cpus,
        "words": said,
    }


def progress_of(dag_id: str, run_id: str) -> dict[str, Any]:
    """See `shapes.progress.RunProgress`; raises NotFound."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as airflow:
        state = airflow.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if state is None:
            raise NotFound(f"DAG {dag_id!r} has no run {run_id!r}")
        columns = (
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.try_number,
            TaskInstance.start_date,
            TaskInstance.end_date,
        )
        wanted = select(*columns).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        tasks = airflow.execute(wanted.order_by(TaskInstance.start_date.nulls_last(), TaskInstance.task_id)).all()
    with reading() as db:
        progress = of_run(db, dag_id, run_id)
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "state": str(getattr(state, "value", state)),
        "tasks": [
            {
                "task_id": task.task_id,
                "map_index": task.map_index,
                "state": None if task.state is None else str(getattr(task.state, "value", task.state)),
                "try_number": task.try_number,
                "started_at": task.start_date.isoformat() if task.start_date else None,
                "ended_at": task.end_date.isoformat() if task.end_date else None,
                "progress": progress.get((task.task_id, task.map_index)),
            }
            for task in tasks
        ],
    }
