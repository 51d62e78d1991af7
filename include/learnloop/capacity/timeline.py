"""What is free on a node from now on, as far as it is known when jobs end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import inf

from learnloop.capacity.amounts import Amounts


class Timeline:
    """A step function of time: from ``times[i]`` on, until the next, ``free[i]`` is free. The last step has no end."""

    __slots__ = ("free", "times")

    def __init__(self, now: float, free: Amounts) -> None:
        self.times = [now]
        self.free = [free]

    def take(self, amounts: Amounts, start: float, end: float) -> None:
        """Take ``amounts`` in [start, end). It may go below zero, where more is held than there is."""
        first, last = self._step_at(start), self._step_at(end)
        for step in range(first, last):
            self.free[step] = self.free[step].less(amounts)

    def earliest(self, amounts: Amounts, seconds: float) -> float:
        """From when on ``amounts`` are free for ``seconds`` without a break; infinity: never."""
        found: float | None = None
        for start, free in zip(self.times, self.free, strict=True):
            if found is not None and start >= found + seconds:
                return found
            if not amounts.fits(free):
                found = None
            elif found is None:
                found = start
        return inf if found is None else found

    def at(self, time: float) -> Amounts:
        return self.free[bisect_right(self.times, time) - 1]

    def _step_at(self, time: float) -> int:
        """The index of the step that begins at ``time``, which is made where there is none."""
        if time == inf:
            return len(self.times)
        step = bisect_left(self.times, time)
        if step == len(self.times) or self.times[step] != time:
            self.times.insert(step, time)
            self.free.insert(step, self.free[step - 1])
        return step
