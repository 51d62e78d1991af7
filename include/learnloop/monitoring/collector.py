"""Collects figures from the database when a scraper asks, each anew only after a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from learnloop.errors import Unavailable
from learnloop.monitoring.families import Figures, gauge

Sessions = Callable[[], AbstractContextManager[Session]]

_log = logging.getLogger(__name__)


@dataclass
class Part:
    """Some families of one database, and for how many ``seconds`` they may be told again as they were."""

    name: str
    figures: Figures
    sessions: Sessions
    seconds: float
    database: str = "learnloop"
    told: list[Metric] = field(default_factory=list)
    took: float = 0.0
    until: float = 0.0

    def refresh(self) -> None:
        if time.monotonic() < self.until:
            return
        begun = time.monotonic()
        with self.sessions() as db:
            self.told = list(self.figures(db))
        self.took = time.monotonic() - begun
        self.until = time.monotonic() + self.seconds


class Collector:
    """Tells the figures of all parts. Of a database that does not answer it tells only that it does not.

    Scrapers that ask at once wait for one reading.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = list(parts)
        self._one_at_a_time = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing: else a registry would collect to learn the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        with self._one_at_a_time:
            yield from self._collect()

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def _collect(self) -> Iterable[Metric]:
        away: set[str] = set()
        for part in self._parts:
            if part.database in away:
                continue
            try:
                part.refresh()
            except (OperationalError, InterfaceError, Unavailable) as error:
                away.add(part.database)
                _log.warning("no figures of %s: the database %s does not answer: %s", part.name, part.database, error)
                continue
            yield from part.told
        up = {part.database: part.database not in away for part in self._parts}
        yield gauge("database_up", "Whether a database answered.", ("database",), up.items())
        took = [(part.name, part.took) for part in self._parts]
        yield gauge("figures_seconds", "How long reading these figures took.", ("part",), took)


def loop_parts(sessions: Sessions) -> list[Part]:
    """The parts of our own database."""
    from learnloop.monitoring import datasets, jobs, models, platform

    return [
        Part("datasets", datasets.figures, sessions, 10),
        Part("queue", platform.queue, sessions, 5),
        Part("messages", platform.messages, sessions, 5),
        Part("serving", models.serving, sessions, 5),
        Part("storage", platform.storage, sessions, 60),
        Part("backups", platform.backups, sessions, 60),
        Part("quality", models.quality, sessions, 60),
        Part("job_warnings", jobs.warnings, sessions, 5),
        Part("job_usage", jobs.usage, sessions, 60),
    ]
