"""Takes OTLP over HTTP, as a collector does, and keeps what came."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """Ids in hexadecimal; ``parent`` is empty for a root. ``error``: what its status says, if that is an error."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    begun: int
    ended: int
    error: str | None
    links: tuple[str, ...]
    attributes: dict[str, Any] = field(hash=False)


class Receiver:
    """``url`` is what OTEL_EXPORTER_OTLP_ENDPOINT is to be."""

    def __init__(self) -> None:
        self.url = ""
        self.metrics: list[tuple[str, str]] = []
        self._spans: list[Span] = []
        self._came = threading.Condition()

    def take(self, path: str, body: bytes) -> None:
        with self._came:
            if path.endswith("/v1/traces"):
                self._spans += _spans(body)
            else:
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    for scope in resource.scope_metrics:
                        self.metrics.extend((path, metric.name) for metric in scope.metrics)
            self._came.notify_all()

    def spans(self, trace: str | None = None) -> list[Span]:
        with self._came:
            return [span for span in self._spans if trace in (None, span.trace)]

    def span(self, name: str, trace: str | None = None, *, timeout: float = 30) -> Span:
        """The one span called so, once it has come."""
        deadline = time.monotonic() + timeout
        with self._came:
            while True:
                found = [span for span in self._spans if span.name == name and trace in (None, span.trace)]
                if found:
                    assert len(found) == 1, found
                    return found[0]
                left = deadline - time.monotonic()
                names = [(span.name, span.trace) for span in self._spans]
                assert left > 0, f"no span {name!r} in {trace}: {names}"
                self._came.wait(left)

    def environment(self) -> dict[str, str]:
        """What the documentation says to set, but for the address."""
        return {
            "OTEL_TRACES_EXPORTER": "otlp_proto_http",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{self.url}/v1/traces",
        }


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.take(self.path, gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(body: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        of = _plain(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    str(of.get("service.name", "")),
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.message if span.status.code == 2 else None,
                    tuple(link.span_id.hex() for link in span.links),
                    _plain(span.attributes),
                )


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
