"""A trace from a request to our API through the run that it starts to the run's jobs, where Airflow traces.

``[traces] otel_on`` is Airflow's. With it Airflow sets up OpenTelemetry in each of its processes, and makes a span of each
DAG run, task and trigger. What is added here: a span of each request to our API, that the run it starts is of its trace,
and a span of each job with its phases. Without it nothing here does anything.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from learnloop.traces.context import HEADER, TraceContext, current, parse

if TYPE_CHECKING:
    from airflow.sdk import Context

    from learnloop.jobs.spec import JobSpec

UNTRACED = ("/metrics", "/metrics/loop")
"""Scrapers ask for these every few seconds; a trace of that is of use to nobody."""
SERVICE = "learnloop-job"
_W3C = TraceContextTextMapPropagator()
log = logging.getLogger(__name__)


def active() -> bool:
    """Whether Airflow has set up tracing in this process."""
    return hasattr(trace.get_tracer_provider(), "sampler")


class Traced:
    """A span of each request, below the caller's (``traceparent``); its trace id is in the log lines meanwhile."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._tracer = trace.get_tracer("learnloop.api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or path in UNTRACED:
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        attributes = {"http.request.method": method, "url.path": path}
        with self._tracer.start_as_current_span(
            method, context=_W3C.extract(given), kind=trace.SpanKind.SERVER, attributes=attributes
        ) as span:
            in_log = bind_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}")

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", None)
                    if route is not None:
                        span.update_name(f"{method} {route}")
                        span.set_attribute("http.route", route)
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(trace.StatusCode.ERROR)
                await send(message)

            try:
                await self.app(scope, receive, answer)
            finally:
                reset_contextvars(**in_log)


@cache
def carry_traces_into_runs() -> None:
    """From now on a DAG run that a request to our API starts, or starts again, belongs to the request's trace.

    Airflow begins a trace of its own for each run, and keeps it in the run's ``context_carrier``, below which all its tasks
    are; it takes no other. So the trace's id is put in its place when it is set, before any task has read it. That the
    run's own span has a parent is more than Airflow can do (apache/airflow#67210): the request's span has a link to it.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import event

    def carried(run: Any, carrier: Any, *_: Any) -> Any:
        span = trace.get_current_span()
        above = span.get_span_context()
        own = parse(carrier.get(HEADER, "")) if isinstance(carrier, dict) else None
        if not above.is_valid or own is None:
            return carrier
        joined = TraceContext(f"{above.trace_id:032x}", own.span_id, bool(above.trace_flags.sampled))
        told = {"airflow.dag_id": str(run.dag_id), "airflow.dag_run.run_id": str(run.run_id)}
        linked = trace.SpanContext(above.trace_id, int(own.span_id, 16), is_remote=True, trace_flags=above.trace_flags)
        span.add_link(linked, told)
        return {**carrier, HEADER: str(joined)}

    event.listen(DagRun.context_carrier, "set", carried, retval=True)


@contextmanager
def traced_job(spec: JobSpec, results: Path) -> Iterator[TraceContext | None]:
    """The block runs the job on this machine: its span, below this task's; None where nothing is traced."""
    above = current() if active() else None
    if above is None:
        yield None
        return
    own, begun, error = above.child(), time.time_ns(), None
    try:
        yield own
    except BaseException as raised:  # a task that is killed, or at its time's end, is ended by one of these
        error = what_went_wrong(raised)
        raise
    finally:
        tell(spec, results, own, above.span_id, begun=begun, runner="local", error=error)


def context_of_pod(context: Context, owner: str) -> tuple[TraceContext, str] | None:
    """The span of a job in a pod, and the id of the one above it, the task's; None where nothing is traced.

    It is told of by another process than the one that made the pod, so its id is derived from ``owner``, the task's try.
    """
    carrier = getattr(context["ti"], "context_carrier", None)
    above = parse(carrier.get(HEADER, "")) if active() and isinstance(carrier, dict) else None
    if above is None:
        return None
    own = hashlib.sha256(f"{above}\n{owner}".encode()).hexdigest()[:16]
    return above.child(own), above.span_id


def what_went_wrong(raised: BaseException) -> str:
    return str(raised) or type(raised).__name__


def tell(
    spec: JobSpec,
    results: Path,
    own: TraceContext,
    above: str,
    *,
    begun: int,
    runner: str,
    error: str | None = None,
    ended: int | None = None,
) -> None:
    """Send the spans of a job that has ended, and of its phases. Times are nanoseconds since 1970.

    What goes wrong here is logged: it changes nothing of what became of the job.
    """
    if not own.sampled:
        return
    try:
        _send(spec, results, own, above, begun=begun, runner=runner, error=error, ended=ended)
    except Exception:
        log.exception("the spans of job %s could not be sent", spec.key)


def _send(
    spec: JobSpec,
    results: Path,
    own: TraceContext,
    above: str,
    *,
    begun: int,
    runner: str,
    error: str | None,
    ended: int | None,
) -> None:
    from learnloop.jobs.phases import read_phases
    from learnloop.traces.export import EndedSpan, send

    ended = max(begun, ended or time.time_ns())
    attributes = {
        "learnloop.job.key": spec.key,
        "learnloop.job.runner": runner,
        "learnloop.job.what": spec.module or spec.command[0],
        **({"learnloop.dataset_version": spec.pins.dataset_version} if spec.pins.dataset_version else {}),
    }
    name = f"job {spec.module or spec.command[0]}"
    job = EndedSpan(name, own, above, begun, ended, None if error is None else error[:1000], attributes)
    phases = [
        EndedSpan(
            one.name,
            own.child(one.id),
            one.parent,
            one.begun,
            max(one.begun, one.ended or ended),
            one.error or ("it had not ended when the job did" if one.ended is None else None),
        )
        for one in read_phases(results, own.span_id)
    ]
    send([job, *phases], SERVICE)
