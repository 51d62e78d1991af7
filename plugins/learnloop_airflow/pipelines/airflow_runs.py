"""Runs as Airflow has them: started, stopped, begun again where they failed. In the API server, on Airflow's own database.

Airflow's functions behind its REST routes are used: they keep its history and call its listeners.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from learnloop.errors import Conflict, InvalidInput, NotFound, Unavailable
from learnloop.pipelines.names import NO_STAGES, PIN, RELEASE, dag_id_of
from learnloop_airflow.pipelines.loading import tag_of

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

APPEARS_SECONDS = 20.0
LOOK_SECONDS = 0.2
ENDED = ("success", "failed")


def start(name: str, version: int, *, user: str) -> str:
    """Start a run of the version, which must be the newest; returns the run's id.

    Raises:
        Unavailable: Airflow has not taken the version in within ``APPEARS_SECONDS``.
    """
    deadline = time.monotonic() + APPEARS_SECONDS
    while True:
        started = start_dag(dag_id_of(name), user=user, tag=tag_of(version))
        if started is not None:
            return started
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Airflow has not taken in version {version} of pipeline {name} yet: try again in a moment;"
                " when it stays so, the dag-processor's log says why"
            )
        time.sleep(LOOK_SECONDS)  # until the dag-processor has been there: nobody tells of it


def start_dag(dag_id: str, *, user: str, tag: str | None = None, conf: dict[str, Any] | None = None) -> str | None:
    """Start a run of a DAG as a person's; None while Airflow does not have it (with ``tag``).

    Raises:
        InvalidInput: ``conf`` is not what the DAG takes.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagbag import DBDagBag
    from airflow.sdk import timezone
    from airflow.sdk.exceptions import ParamValidationError
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import select

    with create_session() as airflow:
        known = airflow.scalar(select(DagModel.dag_id).where(DagModel.dag_id == dag_id, ~DagModel.is_stale))
        dag = None if known is None else DBDagBag().get_latest_version_of_dag(dag_id, session=airflow)
        if dag is None or (tag is not None and tag not in dag.tags):
            return None
        now = timezone.utcnow()
        try:
            run = dag.create_dagrun(
                run_id=dag.timetable.generate_run_id(run_type=DagRunType.MANUAL, run_after=now, data_interval=None),
                run_after=now,
                conf=conf or {},
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.REST_API,
                triggering_user_name=user,
                state=DagRunState.QUEUED,
                session=airflow,
            )
        except ParamValidationError as error:
            raise InvalidInput(f"{dag_id} does not take this: {error}") from error
        return str(run.run_id)


def cancel(name: str, run_id: str) -> None:
    """End a run as failed: its jobs are killed, its teardown runs.

    Raises:
        NotFound: there is no such run.
        Conflict: it has ended.
    """
    from airflow.api_fastapi.core_api.datamodels.dag_run import DagRunMutableStates
    from airflow.api_fastapi.core_api.services.public.dag_run import patch_dag_run_state
    from airflow.models.dagbag import DBDagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as airflow:
        run = _run(airflow, name, run_id)
        if str(run.state) in ENDED:
            raise Conflict(f"run {run_id} of {name} has ended already: {run.state}")
        dag = DBDagBag().get_dag_for_run(run, session=airflow)
        if dag is None:
            raise NotFound(f"Airflow has no DAG for run {run_id} of {name}")
        patch_dag_run_state(dag=dag, dag_run=run, state=DagRunMutableStates.FAILED, session=airflow)
        # Airflow skips what had not begun, lets the teardown run, and then takes a run whose last stages were skipped for
        # one that ended well. Nothing else skips a stage.
        airflow.flush()
        of = TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run_id, TaskInstance.state == "skipped"
        airflow.execute(update(TaskInstance).where(*of).values(state="upstream_failed"))


def rerun(name: str, run_id: str, stage: str | None = None) -> list[str]:
    """Run again what failed and what waited for it, or ``stage`` and all after it; returns the tasks. The version stays.

    Raises:
        NotFound: there is no such run, or it has no such stage.
        Conflict: it is under way, or nothing in it failed.
    """
    from airflow.models.dagbag import DBDagBag
    from airflow.utils.session import create_session

    with create_session() as airflow:
        run = _run(airflow, name, run_id)
        if str(run.state) not in ENDED:
            raise Conflict(f"run {run_id} of {name} is {run.state}: wait until it has ended, or cancel it")
        dag = DBDagBag().get_dag_for_run(run, session=airflow)
        if dag is None:
            raise NotFound(f"Airflow has no DAG for run {run_id} of {name}")
        if stage is not None:
            if not dag.has_task(stage) or stage in NO_STAGES:
                raise NotFound(f"run {run_id} of {name} has no stage {stage!r}")
            after = dag.get_task(stage).get_flat_relative_ids(upstream=False)
            tasks = {stage, *after}
        else:
            states = {task.task_id: str(task.state) for task in run.get_task_instances(session=airflow)}
            tasks = {task for task, state in states.items() if state in ("failed", "upstream_failed")}
            if not tasks:
                raise Conflict(f"nothing of run {run_id} of {name} failed; name a stage to begin again from")
        # What the stages read is held again, and as it was: see `learnloop.pipelines.runs.begin`. Mounts that went with the
        # run are made again: Airflow clears setups and teardowns with the tasks between them.
        dag.clear(run_id=run_id, task_ids=sorted({*tasks, PIN, RELEASE}), only_failed=False, session=airflow)
        return sorted(tasks - NO_STAGES)


def states(name: str, run_ids: Sequence[str]) -> dict[str, str]:
    """The state of each of the runs that Airflow has."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as airflow:
        wanted = select(DagRun.run_id, DagRun.state).where(
            DagRun.dag_id == dag_id_of(name), DagRun.run_id.in_(list(run_ids))
        )
        return {run_id: str(getattr(state, "value", state)) for run_id, state in airflow.execute(wanted)}


def refuse_under_way(name: str) -> None:
    """Raise Conflict when a run of the pipeline is under way: Airflow would never go on with it."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as airflow:
        live = select(DagRun.run_id).where(DagRun.dag_id == dag_id_of(name), DagRun.state.not_in(ENDED))
        found = list(airflow.scalars(live.limit(5)))
    if found:
        raise Conflict(f"{', '.join(found)} of pipeline {name} is under way: cancel it or wait until it has ended")


def owner_of(name: str, run_id: str) -> str | None:
    """Who started a run."""
    from airflow.utils.session import create_session

    with create_session() as airflow:
        return _run(airflow, name, run_id).triggering_user_name


def _run(airflow: Session, name: str, run_id: str) -> DagRun:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    found = airflow.scalar(select(DagRun).where(DagRun.dag_id == dag_id_of(name), DagRun.run_id == run_id))
    if found is None:
        raise NotFound(f"pipeline {name!r} has no run {run_id!r}")
    return found
