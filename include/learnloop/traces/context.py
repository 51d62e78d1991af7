"""A place in a trace, as it is handed on: in the header ``traceparent``, and to jobs in the variable ``TRACEPARENT``.
And the run that a request is made in, for the lines that its server logs: in the header ``X-Run-ID``.

The form is W3C's (https://www.w3.org/TR/trace-context/). OpenTelemetry is not needed for it: a job's image need not have it.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

HEADER = "traceparent"
VARIABLE = "TRACEPARENT"
RUN_HEADER = "X-Run-ID"
RUN_VARIABLE = "AIRFLOW_CTX_DAG_RUN_ID"
"""Airflow sets it in the process of each task."""
_RUN_ID = re.compile(r"[\w.~:+-]{1,250}", re.ASCII)
_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)


@dataclass(frozen=True)
class TraceContext:
    """A span, and whether its trace is kept. ``str`` of it is the header's value."""

    trace_id: str
    span_id: str
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"

    def child(self, span_id: str = "") -> TraceContext:
        """A span of the same trace: of the given id, or a new one."""
        return replace(self, span_id=span_id or new_span_id())


def new_span_id() -> str:
    return secrets.token_hex(8)


def parse(text: str) -> TraceContext | None:
    """What ``text`` says; None for what is no ``traceparent``: that is no error, W3C says, and begins a new trace."""
    found = _FORM.fullmatch(text.strip())
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return TraceContext(found[1], found[2], bool(int(found[3], 16) & 1))


def current(environment: Mapping[str, str] = os.environ) -> TraceContext | None:
    """Where this thread is: in a span of OpenTelemetry's, else where ``TRACEPARENT`` says; None where nothing is traced."""
    trace = sys.modules.get("opentelemetry.trace")
    # Without a provider that has been set up, Airflow's tasks still have a context of its: of a trace that nobody keeps.
    if trace is not None and hasattr(trace.get_tracer_provider(), "sampler"):
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            return TraceContext(f"{span.trace_id:032x}", f"{span.span_id:016x}", bool(span.trace_flags.sampled))
    return parse(environment.get(VARIABLE, ""))


def headers(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a request bears: so that its server's span is below this thread's, where something is traced; and of which run
    it is, from an Airflow task.
    """
    found, run = current(environment), environment.get(RUN_VARIABLE, "")
    traced = {} if found is None else {HEADER: str(found)}
    return {**traced, RUN_HEADER: run} if _RUN_ID.fullmatch(run) else traced


def said_run(given: str) -> dict[str, str]:
    """``run_id`` for a server's log lines, as the header of a request says; nothing where it says none, or what is none."""
    return {"run_id": given} if _RUN_ID.fullmatch(given) else {}
