"""Which versions may not be served here, and why."""

from __future__ import annotations

import time
from collections.abc import Container
from dataclasses import dataclass

from learnloop.serving.versions import Key

RETRY_SECONDS = 10.0
"""A failed load is tried again after this long (a registry may have been away), or at once for a new generation."""
NEVER = float("inf")


@dataclass(frozen=True)
class Failure:
    """Why a version may not be served: it did not load or pass (then it is tried again), or it erred when it served."""

    message: str
    generation: int
    retry_at: float

    @property
    def erred(self) -> bool:
        return self.retry_at == NEVER

    @property
    def waits(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self.retry_at


class Failures:
    """Those of one server; of its reconciler's thread, but for `get`."""

    def __init__(self) -> None:
        self._of: dict[Key, Failure] = {}

    def get(self, key: Key) -> Failure | None:
        return self._of.get(key)

    def not_loaded(self, key: Key, message: str, generation: int) -> None:
        """Loading it failed, for that generation."""
        self._of[key] = Failure(message, generation, time.monotonic() + RETRY_SECONDS)

    def erred(self, key: Key, message: str, generation: int) -> None:
        """It erred where another version did not: it is not tried again before it is asked for anew."""
        self._of[key] = Failure(message, generation, NEVER)

    def forget(self, key: Key) -> None:
        self._of.pop(key, None)

    def keep(self, wanted: Container[Key]) -> None:
        """Forget what nobody wants any more: it starts afresh when it is wanted again."""
        self._of = {key: failure for key, failure in self._of.items() if key in wanted}

    @property
    def all_erred(self) -> list[tuple[Key, Failure]]:
        return [(key, failure) for key, failure in self._of.items() if failure.erred]
