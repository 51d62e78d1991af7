"""What people and applications saw of the stack: what they were told, which must hold whatever breaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


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
    did: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """What was broken before somebody's eyes."""

    def overlapping(self) -> list[tuple[Hold, Hold]]:
        found, last = [], dict[int, Hold]()
        for hold in sorted(self.holds, key=lambda hold: hold.start):
            before = last.get(hold.task)
            if before is not None and before.person != hold.person and hold.start < before.end:
                found.append((before, hold))
            last[hold.task] = hold
        return found
