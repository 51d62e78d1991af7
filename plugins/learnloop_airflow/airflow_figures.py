"""What Airflow's own database says of Airflow: enough to notice that a part of it is gone, wherever Airflow runs.

Airflow's own metrics (OpenTelemetry, StatsD) say more, and nothing of a component that is dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from airflow.jobs.job import Job
from airflow.models import DagRun, TaskInstance
from airflow.models.errors import ParseImportError
from airflow.utils.session import create_session
from airflow.utils.state import State
from prometheus_client.core import Metric
from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from learnloop.monitoring.collector import Part
from learnloop.monitoring.families import age, gauge

COMPONENTS = {"SchedulerJob": "scheduler", "DagProcessorJob": "dag_processor", "TriggererJob": "triggerer"}


def airflow_part(sessions: Callable[[], AbstractContextManager[Session]] = create_session) -> Part:
    return Part("airflow", figures, sessions, 5, database="airflow")


def figures(db: Session) -> Iterable[Metric]:
    labels = ("component",)
    rows = {
        COMPONENTS[kind]: (seconds, running)
        for kind, seconds, running in db.execute(
            select(Job.job_type, func.min(age(Job.latest_heartbeat)), func.sum(cast(Job.state == "running", Integer)))
            .where(Job.job_type.in_(COMPONENTS))
            .group_by(Job.job_type)
        )
    }
    what = "How long ago the liveliest of a component's processes told of itself."
    yield gauge("airflow_heartbeat_age_seconds", what, labels, [(name, row[0]) for name, row in rows.items()])
    what = "Processes that say they run, also those that were killed and have not been noticed yet."
    yield gauge("airflow_processes", what, labels, [(name, row[1]) for name, row in rows.items()])
    unfinished = [state for state in State.unfinished if state is not None]
    tasks = db.execute(
        select(TaskInstance.state, func.count(), func.max(age(TaskInstance.queued_dttm)))
        .where(TaskInstance.state.in_(unfinished))
        .group_by(TaskInstance.state)
    ).all()
    found = {str(state): count for state, count, _ in tasks}
    told = [(str(state), found.get(str(state), 0)) for state in sorted(unfinished)]
    yield gauge("airflow_task_instances", "Tasks that have not ended, by state.", ("state",), told)
    queued = [(seconds,) for state, _, seconds in tasks if state == "queued"]
    what = "How long the task that has been queued longest has waited for an executor."
    yield gauge("airflow_task_queued_oldest_seconds", what, (), queued or [(0,)])
    runs = dict(
        db.execute(
            select(DagRun.state, func.count()).where(DagRun.state.in_(("queued", "running"))).group_by(DagRun.state)
        ).all()
    )
    told = [(state, runs.get(state, 0)) for state in ("queued", "running")]
    yield gauge("airflow_dag_runs", "DAG runs that have not ended, by state.", ("state",), told)
    errors = db.scalar(select(func.count()).select_from(ParseImportError))
    yield gauge("airflow_import_errors", "DAG files that do not load.", (), [(errors,)])
