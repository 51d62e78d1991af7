"""Sends spans away, as the standard variables ``OTEL_...`` say. OpenTelemetry is imported when this is used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from learnloop.traces.context import TraceContext

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

EXPORTER = "OTEL_TRACES_EXPORTER"
_GROUP = "opentelemetry_traces_exporter"


@dataclass(frozen=True)
class EndedSpan:
    """A span that is told of after it ended, and whose id was given away before. Times are nanoseconds since 1970."""

    name: str
    context: TraceContext
    parent_id: str
    begun: int
    ended: int
    error: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def wanted() -> bool:
    """Whether this process, which is not Airflow's, is to send spans: ``OTEL_TRACES_EXPORTER`` names an exporter."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and os.environ.get(EXPORTER, "") not in ("", "none")


def exporter() -> SpanExporter:
    """The exporter that ``OTEL_TRACES_EXPORTER`` names, read as Airflow reads it: ``otlp`` (the default) is by gRPC,
    ``otlp_proto_http`` by HTTP, ``console`` prints.

    Raises:
        RuntimeError: there is none of that name.
    """
    name = os.environ.get(EXPORTER) or "otlp"
    found = next(iter(entry_points(group=_GROUP, name=name)), None)
    if found is None:
        there = ", ".join(sorted(point.name for point in entry_points(group=_GROUP)))
        raise RuntimeError(f"{EXPORTER} is {name!r}; there are {there}")
    made: SpanExporter = found.load()()
    return made


def provider(service: str, ids: Any = None) -> TracerProvider:
    """A provider whose spans go to `exporter` in the background, as those of ``service``."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    made = TracerProvider(id_generator=ids, resource=Resource.create({SERVICE_NAME: service}))
    made.add_span_processor(BatchSpanProcessor(exporter()))
    return made


def send(spans: Iterable[EndedSpan], service: str) -> None:
    """Send spans now. A receiver that is away is logged by the exporter, after its own timeout, and harms nobody."""
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )

    ids = _given_ids()
    sending = provider(service, ids)
    tracer = sending.get_tracer("learnloop")
    for span in spans:
        trace_id, flags = int(span.context.trace_id, 16), TraceFlags(int(span.context.sampled))
        above = SpanContext(trace_id, int(span.parent_id, 16), is_remote=True, trace_flags=flags)
        ids.following = int(span.context.span_id, 16)
        made = tracer.start_span(
            span.name,
            context=set_span_in_context(NonRecordingSpan(above)),
            start_time=span.begun,
            attributes=dict(span.attributes),
        )
        if span.error is not None:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(span.ended)
    sending.shutdown()


def _given_ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Given(RandomIdGenerator):
        following = 0

        def generate_span_id(self) -> int:
            return self.following

    return Given()
