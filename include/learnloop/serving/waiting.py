"""Waiting until a version is in memory here, and telling how it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import orjson

from learnloop.errors import Conflict, LearnloopError, Unavailable
from learnloop.serving.models import ModelSet
from learnloop.serving.reconciler import Reconciler
from learnloop.serving.versions import Key

LOAD_SECONDS = 60.0
LOOK_SECONDS = 0.05


class Waiting:
    def __init__(self, models: ModelSet, reconciler: Reconciler) -> None:
        self._models = models
        self._reconciler = reconciler

    async def loaded(self, key: Key) -> None:
        """Return once the version is in memory here; raises as `states`."""
        async for _ in self.states(key):
            pass

    async def lines(self, key: Key) -> AsyncIterator[bytes]:
        """What Ollama's clients read: a line of JSON for each state, the last one ``success`` or an error."""
        try:
            async for state in self.states(key):
                yield orjson.dumps({"status": state}) + b"\n"
            yield b'{"status":"success"}\n'
        except LearnloopError as error:
            yield orjson.dumps({"error": str(error)}) + b"\n"

    async def states(self, key: Key) -> AsyncIterator[str]:
        """States on the way until the version is in memory here.

        Raises:
            Conflict: it could not be loaded, or did not pass its smoke test.
            Unavailable: it takes too long.
        """
        what, deadline = f"{key[0]} version {key[1]}", time.monotonic() + LOAD_SECONDS
        self._reconciler.wake()
        yield f"loading {what}"
        while key not in self._models.versions:
            if failure := self._reconciler.failure_of(key):
                raise Conflict(f"{what} could not be loaded: {failure}")
            if time.monotonic() > deadline:
                raise Unavailable(f"{what} is not in memory after {LOAD_SECONDS:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
