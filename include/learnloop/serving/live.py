"""Notes what live requests are like, where their dataset says so: counts for drift, and samples the model is not sure of.

Counts are those of a share of the rows, by hour and version; no request can be told from them. A sample is kept only with
``ask_below``, and only when the request brought the sample itself. A request that says ``"record": false`` among its
parameters is not noted at all.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import LIVE, Batch, LiveSample, LiveWindow, session
from learnloop.loop.drift import BINS, add
from learnloop.serving.metrics import Metrics
from learnloop.serving.protocol import InferRequest
from learnloop.serving.versions import Key, LoadedVersion
from learnloop.training.reference import counts

MOST_BYTES = 32 * 2**20
"""Samples that wait to be written; what comes on top is not kept."""


@dataclass(frozen=True)
class LiveRules:
    """What a dataset wants noted of its models' requests (``learnloop.datasets.schema.LiveConfig``)."""

    dataset_id: int
    record: float = 0.0
    ask_below: float | None = None
    ask_a_day: int = 40


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    counts: dict[str, Any] = field(default_factory=dict)


class Recorder:
    """Shown each answer (`watch`), and told to write down what it noted (`flush`)."""

    def __init__(self, database_url: str, metrics: Metrics) -> None:
        self._database_url = database_url
        self._metrics = metrics
        self._lock = threading.Lock()
        self._rules: Mapping[str, LiveRules] = {}
        self._counts: dict[tuple[Key, datetime], _Counts] = {}
        self._samples: dict[tuple[int, str], dict[str, Any]] = {}
        self._bytes = 0
        self._random = random.Random()  # noqa: S311 - which requests are counted is no secret

    def configure(self, rules: Mapping[str, LiveRules]) -> None:
        """Say what is noted, by the model's name; of others nothing is."""
        self._rules = rules

    def watch(self, loaded: LoadedVersion, asked: InferRequest, probabilities: NDArray[np.float32]) -> None:
        """Note an answer, if its dataset wants it noted."""
        rules = self._rules.get(loaded.name)
        if rules is None or not asked.record or asked.features is None:
            return
        if rules.record:
            chosen = [row for row in range(asked.rows) if self._random.random() < rules.record]
            if chosen:
                self._count(loaded, asked.features[chosen], probabilities[chosen])
        if rules.ask_below is not None and asked.samples is not None:
            confidence = probabilities.max(axis=1)
            for row in np.flatnonzero(confidence < rules.ask_below).tolist():
                self._keep(rules, loaded, asked.samples[row], float(confidence[row]))

    def flush(self) -> None:
        """Write down what was noted since; what cannot be written now is kept for the next time.

        Raises:
            SQLAlchemyError: the database did not answer.
        """
        with self._lock:
            counted, self._counts = self._counts, {}
            samples, self._samples, self._bytes = self._samples, {}, 0
        if not counted and not samples:
            return
        rules = self._rules
        try:
            with session(self._database_url) as db:
                for (key, hour), of in sorted(counted.items()):
                    if key[0] in rules:
                        _add_window(db, rules[key[0]].dataset_id, key, hour, of)
                _add_samples(db, rules, samples)
        except BaseException:
            self._take_back(counted, samples)
            raise
        for key, of in ((key, of) for (key, _), of in counted.items()):
            self._metrics.recorded(key[0], of.rows)

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
        self._merge((loaded.key, hour), _Counts(len(features), found))

    def _merge(self, place: tuple[Key, datetime], more: _Counts) -> None:
        with self._lock:
            of = self._counts.setdefault(place, _Counts())
            of.rows += more.rows
            of.counts = merged(of.counts, more.counts)

    def _keep(self, rules: LiveRules, loaded: LoadedVersion, data: bytes, confidence: float) -> None:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        place = (rules.dataset_id, md5)
        with self._lock:
            if place in self._samples or self._bytes + len(data) > MOST_BYTES:
                return
            self._bytes += len(data)
            self._samples[place] = {"model_version": loaded.version, "data": data, "confidence": confidence}

    def _take_back(
        self, counted: dict[tuple[Key, datetime], _Counts], samples: dict[tuple[int, str], dict[str, Any]]
    ) -> None:
        for place, of in counted.items():
            self._merge(place, of)
        with self._lock:
            for key, sample in samples.items():
                if key not in self._samples and self._bytes + len(sample["data"]) <= MOST_BYTES:
                    self._bytes += len(sample["data"])
                    self._samples[key] = sample


def merged(before: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Two windows' counts as one. What the model was trained on is not added to itself."""
    return {name: value if name == "reference" else add(before.get(name), value) for name, value in more.items()}


def _add_window(db: Session, dataset_id: int, key: Key, hour: datetime, of: _Counts) -> None:
    place = {"model_name": key[0], "model_version": key[1], "started_at": hour}
    db.execute(insert(LiveWindow).values(**place, dataset_id=dataset_id, rows=0, counts={}).on_conflict_do_nothing())
    row = db.scalars(select(LiveWindow).filter_by(**place).with_for_update()).one()
    row.rows += of.rows
    row.counts = merged(row.counts, of.counts)


def _add_samples(db: Session, rules: Mapping[str, LiveRules], samples: dict[tuple[int, str], dict[str, Any]]) -> None:
    """The least sure first, as many as the dataset wants a day."""
    most = {rule.dataset_id: rule.ask_a_day for rule in rules.values()}
    for dataset_id in {dataset_id for dataset_id, _ in samples}:
        today = select(func.count()).where(
            LiveSample.dataset_id == dataset_id, LiveSample.seen_at > func.now() - func.make_interval(0, 0, 0, 1)
        )
        room = most.get(dataset_id, 0) - (db.scalar(today) or 0) - _in_batches_today(db, dataset_id)
        mine = sorted(
            ((md5, sample) for (of, md5), sample in samples.items() if of == dataset_id),
            key=lambda found: found[1]["confidence"],
        )
        for md5, sample in mine[: max(room, 0)]:
            db.execute(insert(LiveSample).values(dataset_id=dataset_id, md5=md5, **sample).on_conflict_do_nothing())


def _in_batches_today(db: Session, dataset_id: int) -> int:
    made = select(func.coalesce(func.sum(Batch.samples), 0)).where(
        Batch.dataset_id == dataset_id,
        Batch.provenance["kind"].as_string() == LIVE,
        Batch.created_at > func.now() - func.make_interval(0, 0, 0, 1),
    )
    return int(db.scalar(made) or 0)
