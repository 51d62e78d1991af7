"""Small requests that come at the same time are predicted together: the overhead of a call is paid once.

A batch is of one loaded version and one dtype, so an answer is wholly from one version. With a window of 0 nobody waits:
together are those whose requests have arrived. A model that is fast answers in the event loop, where a thread would cost
more than it saves; a slow one in a thread, one batch at a time, while the next batch gathers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnloop.serving.versions import LoadedVersion, ModelFault

Probabilities = NDArray[np.float32]

FAST_SECONDS = 0.002
"""A call that takes at most so long is made in the event loop."""


@dataclass(eq=False, slots=True)
class _Waiting:
    features: NDArray[Any]
    answer: asyncio.Future[Probabilities]


@dataclass(eq=False, slots=True)
class _Gathering:
    """Requests for one version and dtype that have not been predicted yet."""

    waiting: list[_Waiting] = field(default_factory=list)
    rows: int = 0
    timer: asyncio.Handle | None = None
    running: bool = False


class Batcher:
    """Predicts with many versions, for one event loop.

    Args:
        window: seconds for which a request may wait for others.
        most_rows: rows of one batch; a request with more is one by itself.
        executor: where slow models answer.
        told: is told of each batch: the model's name, and rows.
    """

    def __init__(self, *, window: float, most_rows: int, executor: Executor, told: Callable[[str, int], None]) -> None:
        self._window = window
        self._most_rows = most_rows
        self._executor = executor
        self._told = told
        self._gathering: dict[tuple[int, str], _Gathering] = {}

    async def predict(self, loaded: LoadedVersion, features: NDArray[Any]) -> Probabilities:
        """Probabilities ``[n, k]`` of ``features`` ``[n, d]``; ``loaded`` must be acquired until they are there.

        Raises:
            ModelFault: the model did not answer as it must, also when asked for these rows alone.
        """
        loop = asyncio.get_running_loop()
        mine = _Waiting(features, loop.create_future())
        key = (id(loaded), features.dtype.char)
        gathering = self._gathering.setdefault(key, _Gathering())
        if gathering.rows and gathering.rows + len(features) > self._most_rows and not gathering.running:
            self._begin(loop, loaded, key)
            gathering = self._gathering.setdefault(key, _Gathering())
        gathering.waiting.append(mine)
        gathering.rows += len(features)
        if not gathering.running and (gathering.timer is None or gathering.rows >= self._most_rows):
            if gathering.timer is not None:
                gathering.timer.cancel()
            if self._window and gathering.rows < self._most_rows:
                gathering.timer = loop.call_later(self._window, self._begin, loop, loaded, key)
            else:
                gathering.timer = loop.call_soon(self._begin, loop, loaded, key)
        return await mine.answer

    def _begin(self, loop: asyncio.AbstractEventLoop, loaded: LoadedVersion, key: tuple[int, str]) -> None:
        """Predict what has gathered; as much as one batch may have."""
        gathering = self._gathering.get(key)
        if gathering is None or gathering.running:
            return
        gathering.timer = None
        batch: list[_Waiting] = []
        rows = 0
        while gathering.waiting and (not batch or rows + len(gathering.waiting[0].features) <= self._most_rows):
            batch.append(gathering.waiting.pop(0))
            rows += len(batch[-1].features)
        gathering.rows -= rows
        if not batch:
            del self._gathering[key]
            return
        self._told(loaded.name, rows)
        if loaded.seconds_a_call <= FAST_SECONDS:
            self._end(loop, loaded, key, batch, _predicted(loaded, batch))
            return
        gathering.running = True
        work = loop.run_in_executor(self._executor, _predicted, loaded, batch)
        work.add_done_callback(lambda done: self._end(loop, loaded, key, batch, done.result()))

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        loaded: LoadedVersion,
        key: tuple[int, str],
        batch: list[_Waiting],
        answers: list[Probabilities | ModelFault],
    ) -> None:
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue  # the caller went away
            if isinstance(answer, ModelFault):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        gathering = self._gathering[key]
        gathering.running = False
        if gathering.waiting:
            gathering.timer = loop.call_soon(self._begin, loop, loaded, key)
        else:
            del self._gathering[key]


def _predicted(loaded: LoadedVersion, batch: list[_Waiting]) -> list[Probabilities | ModelFault]:
    """Each request's answer. When the batch as a whole fails each is asked alone: one bad request fails by itself."""
    if len(batch) == 1:
        return [_alone(loaded, batch[0])]
    try:
        together = loaded.predict(np.concatenate([waiting.features for waiting in batch]))
    except ModelFault:
        return [_alone(loaded, waiting) for waiting in batch]
    answers: list[Probabilities | ModelFault] = []
    place = 0
    for waiting in batch:
        answers.append(together[place : place + len(waiting.features)])
        place += len(waiting.features)
    return answers


def _alone(loaded: LoadedVersion, waiting: _Waiting) -> Probabilities | ModelFault:
    try:
        return loaded.predict(waiting.features)
    except ModelFault as fault:
        return fault
