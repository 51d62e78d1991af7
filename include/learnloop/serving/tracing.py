"""A span of each inference request, where ``OTEL_TRACES_EXPORTER`` asks for traces; else nothing of this is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learnloop.traces.export import provider, wanted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SPAN = "learnloop.span"
"""Under this key of its scope a request finds its span."""
SERVICE = "learnloop-model-server"


def traced(app: ASGIApp) -> ASGIApp:
    """``app``, with spans if this process is to send any."""
    return Traced(app, provider(os.environ.get("OTEL_SERVICE_NAME") or SERVICE)) if wanted() else app


class Traced:
    """Makes the spans, each below its caller's (``traceparent``). What waits to be sent is sent when the server ends."""

    def __init__(self, app: ASGIApp, sending: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app, self._sending = app, sending
        self._tracer = sending.get_tracer("learnloop.serving")
        self._server, self._error = SpanKind.SERVER, StatusCode.ERROR
        self._above = TraceContextTextMapPropagator().extract

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            self._sending.shutdown()
            return
        if not scope.get("path", "").endswith("/infer"):
            await self._app(scope, receive, send)
            return
        above = self._above({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
        name = f"{scope['method']} infer"
        with self._tracer.start_as_current_span(name, context=above, kind=self._server) as span:
            scope[SPAN] = span

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(self._error)
                await send(message)

            await self._app(scope, receive, answer)


def describe(scope: Scope, *, model: str, version: str, rows: int) -> dict[str, Any]:
    """Say on the request's span what answered it; returns what its log line says of the trace."""
    span = scope.get(SPAN)
    if span is None:
        return {}
    span.set_attributes({"learnloop.model": model, "learnloop.model_version": version, "learnloop.rows": rows})
    return {"trace_id": f"{span.get_span_context().trace_id:032x}"}
