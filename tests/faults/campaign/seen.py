"""What people and applications saw of the stack: what they were told, which must hold whatever breaks."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace

LONGEST_JUMP = 900.0
"""Seconds after a clock was set during which a token may not count."""


@dataclass(frozen=True)
class Hold:
    """``person`` had ``task`` from ``start`` to ``end`` (seconds since the epoch)."""

    task: int
    person: str
    start: float
    end: float


@dataclass
class Seen:
    """Filled by many threads, which only ever add."""

    accepted: dict[tuple[int, str], str] = field(default_factory=dict)
    """Label by task and person, of each answer that was acknowledged."""
    holds: list[Hold] = field(default_factory=list)
    written: dict[tuple[str, str], str] = field(default_factory=dict)
    """Hash of a file's content by dataset and path, of each that was acknowledged to be in the head."""
    merged: set[str] = field(default_factory=set)
    """Versions whose merge was acknowledged."""
    refused: set[tuple[str, str]] = field(default_factory=set)
    """Dataset and path of files that must never get into the head."""
    did: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """What was broken before somebody's eyes."""
    clock: float = 0.0
    """How far the clock that leases go by is from the true one, seconds."""
    clock_set: list[float] = field(default_factory=list)
    """When any clock was set: a lease that was given before may end at once."""

    def token_may_not_count(self) -> bool:
        """Whether a clock was set so lately that a token may have been made at a time that has not come yet."""
        return self.clock_set_since(time.time() - LONGEST_JUMP)

    def clock_set_since(self, moment: float) -> bool:
        return any(at >= moment for at in self.clock_set)

    def overlapping(self) -> list[tuple[Hold, Hold]]:
        found, last = [], dict[int, Hold]()
        for given in sorted(self.holds, key=lambda hold: hold.start):
            hold = replace(given, end=min([given.end, *(at for at in self.clock_set if at >= given.start)]))
            before = last.get(hold.task)
            if before is not None and before.person != hold.person and hold.start < before.end:
                found.append((before, hold))
            last[hold.task] = hold
        return found
