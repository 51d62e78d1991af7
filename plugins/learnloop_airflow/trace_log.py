"""A listener: where Airflow traces, each line of a task's log has the task's ``trace_id``, beside its run."""

from __future__ import annotations

from airflow.listeners import hookimpl


@hookimpl
def on_task_instance_running() -> None:
    from structlog.contextvars import bind_contextvars

    from learnloop.traces.context import current
    from learnloop_airflow.tracing import active

    found = current() if active() else None
    if found is not None:
        bind_contextvars(trace_id=found.trace_id)
