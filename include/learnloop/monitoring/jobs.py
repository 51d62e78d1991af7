"""What jobs used of late, beside what they asked for."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from learnloop.database import Event, JobUsage
from learnloop.monitoring.families import gauge

USAGE_DAYS = 7
MOST_TASKS = 200
WARNED_SECONDS = 900
MOST_EVENTS = 10_000
"""The newest so many events are looked at."""
MOST_JOBS = 10_000
"""The newest so many jobs are looked at."""
_LABELS = ("dag", "task", "runner")


def warnings(db: Session) -> Iterable[Metric]:
    """Who was warned of late: of a job in a pod, before it needs more memory than it may have."""
    newest = select(func.coalesce(func.max(Event.id), 0)).scalar_subquery()
    since = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, WARNED_SECONDS)
    rows = db.execute(
        select(Event.dag_id, func.count())
        .where(Event.id > newest - MOST_EVENTS, Event.kind == "warning", Event.created_at > since)
        .group_by(Event.dag_id)
        .order_by(func.count().desc(), Event.dag_id)
        .limit(MOST_TASKS)
    ).all()
    what = "Warnings of the last quarter of an hour that a job nears the memory it may have."
    yield gauge("job_memory_warnings", what, ("dag",), [row[:2] for row in rows])


def usage(db: Session) -> Iterable[Metric]:
    """By task, of the last `USAGE_DAYS` days: the `MOST_TASKS` tasks with the most jobs."""
    since = func.now() - func.make_interval(0, 0, 0, USAGE_DAYS)
    newest = select(JobUsage).where(JobUsage.created_at > since).order_by(JobUsage.created_at.desc()).limit(MOST_JOBS)
    job = newest.subquery().c
    count = func.count()
    asked_gpus = case((job.gpus.is_not(None), job.seconds * job.asked_gpu))
    rows = db.execute(
        select(
            job.dag_id,
            job.task_id,
            job.runner,
            count,
            func.max(job.memory_bytes),
            func.max(job.memory_bytes * 1.0 / job.asked_memory),
            func.sum(job.cpu_seconds) / func.nullif(func.sum(job.seconds * job.asked_cpu), 0),
            func.max(job.gpu_memory_bytes),
            func.sum(job.gpus * job.seconds) / func.nullif(func.sum(asked_gpus), 0),
        )
        .group_by(job.dag_id, job.task_id, job.runner)
        .order_by(count.desc(), job.dag_id, job.task_id)
        .limit(MOST_TASKS)
    ).all()
    days = f"of the last {USAGE_DAYS} days"
    told = (
        ("jobs_measured", f"Tries {days} that ran a job to its end."),
        ("job_memory_max_bytes", f"The most memory that a job {days} was seen to use."),
        (
            "job_memory_used_ratio",
            f"The most that a job {days} used of the memory it asked for; above 1: more than that.",
        ),
        ("job_cpu_used_ratio", f"Processor time that jobs {days} used, of what they asked for while they ran."),
        ("job_gpu_memory_max_bytes", f"The most GPU memory that a job {days} was seen to use."),
        ("job_gpu_used_ratio", f"How busy the GPUs were that jobs {days} asked for, while they ran."),
    )
    for number, (name, what) in enumerate(told, 3):
        yield gauge(name, what, _LABELS, [(*row[:3], row[number]) for row in rows])
