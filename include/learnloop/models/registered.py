"""What a version of a registered model is, and what of it is kept as tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
KEY_TAG = "idempotency_key"
METRIC_PREFIX = "metric."
LAST_VERSION = 2**31 - 1
"""MLflow's version numbers are 32 bits wide."""


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    version: int
    source: Path
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    created_at: datetime


class Reads(Protocol):
    """What is asked of a registry at ``url`` without changing it: the modules `registry_sql` and `registry_server`."""

    def names(self, url: str, *, after: str, limit: int | None) -> list[str]:
        """The names of models that have a version, by code points: those after ``after``, at most ``limit``."""

    def versions(self, url: str, name: str, *, before: int, limit: int | None) -> list[RegisteredVersion]:
        """Versions of a model, the newest first: those before ``before``, at most ``limit``."""

    def version(self, url: str, name: str, version: int) -> RegisteredVersion | None:
        """One version, where there is such."""

    def version_of(self, url: str, name: str, alias: str) -> int | None:
        """The version that an alias points at."""

    def source_of(self, url: str, name: str, version: int) -> Path:
        """The folder of a version, on this machine.

        Raises:
            NotFound: there is no such version.
        """

    def find(self, url: str, name: str, idempotency_key: str) -> int | None:
        """The version that was registered with this key."""


def split_tags(stored: Mapping[str, str]) -> dict[str, Any]:
    """The ``tags`` and ``metrics`` of a version, by the tags that MLflow keeps of it."""
    return {
        "tags": {key: value for key, value in stored.items() if not key.startswith(METRIC_PREFIX)},
        "metrics": {
            key.removeprefix(METRIC_PREFIX): float(value)
            for key, value in stored.items()
            if key.startswith(METRIC_PREFIX)
        },
    }


def joined_tags(tags: Mapping[str, str], metrics: Mapping[str, float], idempotency_key: str) -> dict[str, str]:
    """The tags to keep of a version."""
    measured = {METRIC_PREFIX + metric: repr(float(value)) for metric, value in metrics.items()}
    return {**tags, **measured, KEY_TAG: idempotency_key}
