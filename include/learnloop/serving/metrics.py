"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from learnloop.serving.models import ModelSet

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram, seconds."""
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PREFIX = "learnloop_serving_"


class Metrics:
    """Counters of one server process. Models that do not exist are counted under the empty name.

    Args:
        database: whether the server reads one, and so tells whether it answers.
    """

    def __init__(self, models: ModelSet, *, database: bool = True) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._made(Counter, "requests", "Inference requests answered.", "model", "version", "status")
        what = "Time from a request's head to its answer."
        self._seconds = self._made(Histogram, "request_seconds", what, "model", "version", buckets=BUCKETS)
        self._rows = self._made(Counter, "rows", "Rows predicted.", "model", "version")
        self._batches = self._made(
            Histogram, "batch_rows", "Rows that were predicted together.", "model", buckets=BATCH_BUCKETS
        )
        self._faults = self._made(
            Counter, "model_faults", "Sound requests that a model did not answer as it must.", "model", "version"
        )
        self._refused = self._made(Counter, "refused", "Requests told to come again: too many waited.", "lane")
        self._swaps = self._made(Counter, "swaps", "Times an alias moved to another version.")
        self._rollbacks = self._made(Counter, "rollbacks", "Times a version that erred was taken back.", "model")
        self._load_failures = self._made(Counter, "load_failures", "Versions that did not load or pass.")
        self._cold = self._made(Counter, "cold_loads", "Requests that waited for their model to come back to memory.")
        self._recorded = self._made(Counter, "recorded", "Live rows counted for drift.", "model")
        self._waiting = self._made(Gauge, "waiting_requests", "Inference requests admitted and not answered yet.")
        what = "Whether the last reconciliation reached the database."
        self._database_up = self._made(Gauge, "database_up", what) if database else None
        self._registry.register(_Models(models))
        self.database_up = False
        self.waiting = 0
        self.swaps = 0
        # Finding the child of some labels takes as long as all the rest; there are few, but for names that callers make up.
        self._request = cache(self._requests.labels)
        self._second = cache(self._seconds.labels)
        self._row = cache(self._rows.labels)
        self._batch = cache(self._batches.labels)

    def count(self, model: str, version: str, status: int, seconds: float, rows: int = 0) -> None:
        """Count one inference request."""
        self._request(model, version, status).inc()
        self._second(model, version).observe(seconds)
        if rows:
            self._row(model, version).inc(rows)

    def batch(self, model: str, rows: int) -> None:
        self._batch(model).observe(rows)

    def fault(self, model: str, version: int) -> None:
        self._faults.labels(model, version).inc()

    def refused(self, lane: str) -> None:
        self._refused.labels(lane).inc()

    def swapped(self) -> None:
        self.swaps += 1
        self._swaps.inc()

    def rolled_back(self, model: str) -> None:
        self._rollbacks.labels(model).inc()

    def load_failed(self) -> None:
        self._load_failures.inc()

    def cold_load(self) -> None:
        self._cold.inc()

    def recorded(self, model: str, rows: int) -> None:
        self._recorded.labels(model).inc(rows)

    def text(self) -> bytes:
        self._waiting.set(self.waiting)
        if self._database_up is not None:
            self._database_up.set(self.database_up)
        return generate_latest(self._registry)

    def _made(self, kind: Any, name: str, what: str, *labels: str, **how: Any) -> Any:
        return kind(PREFIX + name, what, labels, registry=self._registry, **how)


class _Models:
    """What is in memory, read when it is asked for."""

    def __init__(self, models: ModelSet) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        versions = self._models.versions
        alias = GaugeMetricFamily(PREFIX + "alias_version", "The version an alias leads to.", labels=("model", "alias"))
        canary = GaugeMetricFamily(
            PREFIX + "canary_share", "The share of requests that a canary answers.", labels=("model", "alias")
        )
        for tagged, target in self._models.targets.items():
            name, _, tag = tagged.partition(":")
            alias.add_metric((name, tag), target.version)
            if target.canary is not None:
                canary.add_metric((name, tag), target.share)
        yield alias
        yield canary
        yield GaugeMetricFamily(PREFIX + "loaded_versions", "Model versions in memory.", len(versions))
        yield GaugeMetricFamily(PREFIX + "memory_bytes", "Bytes of the loaded models.", self._models.memory)
        yield CounterMetricFamily(
            PREFIX + "evictions", "Versions unloaded because another needed their room.", self._models.evictions
        )
