"""What the server counts, in Prometheus' text format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

from learnloop.serving.models import ModelSet

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram, seconds."""


class Metrics:
    """Counters of one server process. Models that do not exist are counted under the empty name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._latency: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self.waiting = 0
        self.swaps = 0
        self.load_failures = 0
        self.database_up = False

    def count(self, model: str, version: str, status: int, seconds: float) -> None:
        """Count one inference request."""
        with self._lock:
            self._requests[model, version, status] += 1
            self._seconds[model] += seconds
            self._latency.setdefault(model, [0] * (len(BUCKETS) + 1))[bisect_left(BUCKETS, seconds)] += 1

    def text(self, models: ModelSet) -> str:
        return "\n".join(self._lines(models)) + "\n"

    def _lines(self, models: ModelSet) -> Iterator[str]:
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
            latency = {model: list(counts) for model, counts in self._latency.items()}
        yield "# HELP learnloop_serving_requests_total Inference requests answered."
        yield "# TYPE learnloop_serving_requests_total counter"
        for (model, version, status), number in requests.items():
            labels = f'model="{_escaped(model)}",version="{version}",status="{status}"'
            yield f"learnloop_serving_requests_total{{{labels}}} {number}"
        yield "# HELP learnloop_serving_request_seconds Time from a request's head to its answer."
        yield "# TYPE learnloop_serving_request_seconds histogram"
        for model, counts in latency.items():
            yield from _histogram("learnloop_serving_request_seconds", model, counts, seconds[model])
        yield "# HELP learnloop_serving_alias_version The version an alias points at."
        yield "# TYPE learnloop_serving_alias_version gauge"
        for tagged, loaded in models.aliases.items():
            name, _, alias = tagged.partition(":")
            labels = f'model="{_escaped(name)}",alias="{_escaped(alias)}"'
            yield f"learnloop_serving_alias_version{{{labels}}} {loaded.version}"
        for name, kind, what, value in (
            ("loaded_versions", "gauge", "Model versions in memory.", len(models.versions)),
            ("waiting_requests", "gauge", "Inference requests admitted and not answered yet.", self.waiting),
            ("swaps_total", "counter", "Times an alias moved to another version.", self.swaps),
            ("load_failures_total", "counter", "Versions that did not load or pass.", self.load_failures),
            ("database_up", "gauge", "Whether the last reconciliation reached the database.", int(self.database_up)),
        ):
            yield f"# HELP learnloop_serving_{name} {what}"
            yield f"# TYPE learnloop_serving_{name} {kind}"
            yield f"learnloop_serving_{name} {value}"


def _histogram(name: str, model: str, counts: list[int], seconds: float) -> Iterator[str]:
    label = f'model="{_escaped(model)}"'
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
        total += count
        yield f'{name}_bucket{{{label},le="{bound}"}} {total}'
    yield f"{name}_sum{{{label}}} {seconds}"
    yield f"{name}_count{{{label}}} {total}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
