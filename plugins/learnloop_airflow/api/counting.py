"""Requests to our API counted, for Prometheus: by route as it is written, never by what stands in its place."""

from __future__ import annotations

import time
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, seconds."""
NO_ROUTE = "(none)"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Requests:
    """The counters of one process, and how the process is."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        own = {"registry": self.registry}
        counter = Counter("learnloop_api_requests", "Requests answered.", ("method", "route", "status"), **own)
        seconds = Histogram(
            "learnloop_api_request_duration_seconds",
            "Time from a request to the beginning of its answer.",
            ("method", "route"),
            buckets=BUCKETS,
            **own,
        )
        self.under_way = Gauge("learnloop_api_requests_in_progress", "Requests and streams being answered.", **own)
        self._count = cache(counter.labels)
        self._seconds = cache(seconds.labels)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in METHODS else "other"
        self._count(method, route, status).inc()
        self._seconds(method, route).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Counted:
    """Counts what goes through, whatever becomes of it."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self.app, self.requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        counted = False

        def count(status: int) -> None:
            nonlocal counted
            if not counted:
                counted = True
                route = getattr(scope.get("route"), "path", NO_ROUTE)
                self.requests.count(scope["method"], route, status, time.perf_counter() - begun)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        with self.requests.under_way.track_inprogress():
            try:
                await self.app(scope, receive, answer)
            except Exception:
                count(500)
                raise
