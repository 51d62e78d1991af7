"""Notes what live requests are like, where their dataset says so: counts for drift, and samples the model is not sure of.

Counts are those of a share of the rows, by hour and version; no request can be told from them. A sample is kept only with
``ask_below``, and only when the request brought the sample itself. A request that says ``"record": false`` among its
parameters is not noted at all. It all stays in memory, within bounds, until it is taken.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnloop.serving.protocol import InferRequest
from learnloop.serving.versions import Key, LoadedVersion
from learnloop.training.reference import BINS, add, counts

MOST_BYTES = 32 * 2**20
"""Samples that wait to be taken; of what comes on top, the least sure stay."""
MOST_WINDOWS = 168
"""Hours of counts that wait to be taken, all versions together; the oldest are dropped."""


@dataclass(frozen=True)
class LiveRules:
    """What a dataset wants noted of its models' requests (``learnloop.datasets.schema.LiveConfig``)."""

    dataset_id: int
    record: float = 0.0
    ask_below: float | None = None
    ask_a_day: int = 40

    def __bool__(self) -> bool:
        """Whether anything is noted."""
        return self.record > 0 or self.ask_below is not None


@dataclass(slots=True)
class Window:
    """What one version was asked in one hour: how many rows, and the counts of `LiveWindow`."""

    rows: int = 0
    counts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    version: int
    data: bytes
    confidence: float


@dataclass(frozen=True)
class Noted:
    """Windows by version and hour; samples by the model's name and their MD5."""

    windows: dict[tuple[Key, datetime], Window] = field(default_factory=dict)
    samples: dict[tuple[str, str], Sample] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.windows or self.samples)


class Notes:
    """Shown each answer (`watch`), from any thread; gives what it noted to who takes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rules: Mapping[str, LiveRules] = {}
        """What is noted, by the model's name."""
        self._windows: dict[tuple[Key, datetime], Window] = {}
        self._samples: dict[tuple[str, str], Sample] = {}
        self._surest: dict[str, list[tuple[float, str]]] = {}
        """The samples of each model, a heap: what it is surest of first (-confidence, MD5)."""
        self._bytes = 0
        self._random = random.Random()  # noqa: S311 - which requests are counted is no secret

    def configure(self, rules: Mapping[str, LiveRules]) -> None:
        """Say what is noted, by the model's name; of others nothing is."""
        self.rules = rules

    def watch(self, loaded: LoadedVersion, asked: InferRequest, probabilities: NDArray[np.float32]) -> None:
        """Note an answer, if its dataset wants it noted."""
        rules = self.rules.get(loaded.name)
        if rules is None or not asked.record or asked.features is None:
            return
        if rules.record:
            chosen = [row for row in range(asked.rows) if self._random.random() < rules.record]
            if chosen:
                self._count(loaded, asked.features[chosen], probabilities[chosen])
        if rules.ask_below is not None and asked.samples is not None:
            confidence = probabilities.max(axis=1)
            for row in np.flatnonzero(confidence < rules.ask_below).tolist():
                data = asked.samples[row]
                md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
                self._keep((loaded.name, md5), Sample(loaded.version, data, float(confidence[row])), rules.ask_a_day)

    def take(self, most_bytes: int = MOST_BYTES) -> Noted:
        """What was noted since, for good: all counts, and samples of ``most_bytes`` together, or one that is larger."""
        with self._lock:
            windows, self._windows = self._windows, {}
            samples: dict[tuple[str, str], Sample] = {}
            left = most_bytes
            for place in sorted(self._samples, key=lambda place: self._samples[place].confidence):
                size = len(self._samples[place].data)
                if samples and size > left:
                    break
                left -= size
                samples[place] = self._samples.pop(place)
            self._bytes = sum(len(sample.data) for sample in self._samples.values())
            self._surest = {}
            for (name, md5), sample in self._samples.items():
                heapq.heappush(self._surest.setdefault(name, []), (-sample.confidence, md5))
        return Noted(windows, samples)

    def give_back(self, noted: Noted) -> None:
        """Take back what could not be written."""
        for place, window in noted.windows.items():
            self._merge(place, window)
        for (name, md5), sample in noted.samples.items():
            if name in self.rules:
                self._keep((name, md5), sample, self.rules[name].ask_a_day)

    @property
    def left(self) -> tuple[int, int]:
        """How many rows, and how many samples, wait to be taken."""
        with self._lock:
            return sum(window.rows for window in self._windows.values()), len(self._samples)

    def _count(self, loaded: LoadedVersion, features: NDArray[Any], probabilities: NDArray[np.float32]) -> None:
        highest = np.minimum((probabilities.max(axis=1) * BINS).astype(np.int64), BINS - 1)
        found: dict[str, Any] = {
            "confidence": np.bincount(highest, minlength=BINS).tolist(),
            "predicted": np.bincount(probabilities.argmax(axis=1), minlength=len(loaded.classes)).tolist(),
        }
        if (reference := loaded.reference) is not None:
            pairs = zip(reference["features"], reference["edges"], strict=True)
            found["inputs"] = [counts(features[:, index], edges) for index, edges in pairs]
            found["reference"] = reference["counts"]
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self._merge((loaded.key, hour), Window(len(features), found))

    def _merge(self, place: tuple[Key, datetime], more: Window) -> None:
        with self._lock:
            window = self._windows.setdefault(place, Window())
            window.rows += more.rows
            window.counts = merged(window.counts, more.counts)
            while len(self._windows) > MOST_WINDOWS:
                del self._windows[min(self._windows, key=lambda place: place[1])]

    def _keep(self, place: tuple[str, str], sample: Sample, most: int) -> None:
        """Keep a sample; what is too much then, of this model, goes, the surest first."""
        name, md5 = place
        with self._lock:
            if place in self._samples or len(sample.data) > MOST_BYTES:
                return
            self._samples[place] = sample
            self._bytes += len(sample.data)
            surest = self._surest.setdefault(name, [])
            heapq.heappush(surest, (-sample.confidence, md5))
            while surest and (self._bytes > MOST_BYTES or len(surest) > most):
                self._bytes -= len(self._samples.pop((name, heapq.heappop(surest)[1])).data)


def merged(before: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Two windows' counts as one. What the model was trained on is not added to itself."""
    return {name: value if name == "reference" else add(before.get(name), value) for name, value in more.items()}
