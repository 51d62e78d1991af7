"""What a campaign has to tell: written after every fault, so that nothing is lost when it does not get to its end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .loop import Loop
from .seen import Seen


@dataclass
class Put:
    """One fault that was put in. ``own``: why it could not be, which is the campaign's fault and breaks no promise."""

    at: float
    kind: str
    what: str = ""
    seconds_to_recover: float | None = None
    broken: list[str] = field(default_factory=list)
    own: str = ""


@dataclass
class Record:
    """All of it. ``every_kind``: each kind that was to come at least once."""

    stack: str
    seed: int
    annotators: int
    every_kind: bool
    path: Path
    kinds: list[str] = field(default_factory=list)
    put: list[Put] = field(default_factory=list)
    final: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    ended: bool = False

    def told(self, minutes: float, loop: Loop | None, seen: Seen) -> dict[str, Any]:
        done = [put for put in self.put if not put.own]
        recovery: dict[str, list[float]] = {}
        for put in done:
            if put.seconds_to_recover is not None:
                recovery.setdefault(put.kind, []).append(put.seconds_to_recover)
        every = [*(problem for put in self.put for problem in put.broken), *self.final]
        told = {
            "stack": self.stack,
            "seed": self.seed,
            "minutes": round(minutes, 1),
            "ended": self.ended,
            "annotators": self.annotators,
            "rounds": loop.rounds if loop else 0,
            "rounds_failed": loop.failed if loop else [],
            "runs_cleared": loop.cleared if loop else [],
            "runs_slow": loop.slow if loop else [],
            "answers": len(seen.accepted),
            "faults": len(done),
            "faults_by_kind": dict(sorted(Counter(put.kind for put in done).items())),
            "kinds_that_never_came": sorted(set(self.kinds) - {put.kind for put in done}),
            "seconds_to_recover": {kind: max(seconds) for kind, seconds in sorted(recovery.items())},
            "promises_broken": list(dict.fromkeys(every)),
            "the_campaigns_own": [*self.own, *(f"{put.kind}: {put.own}" for put in self.put if put.own)],
            "seen": dict(sorted(seen.did.items())),
            "each": [asdict(put) for put in self.put],
        }
        return {**told, "shows_nothing_because": self._lacking(told)}

    def write(self, told: dict[str, Any]) -> None:
        """Whole or not at all."""
        beside = self.path.with_name(f"{self.path.name}.new")
        beside.write_text(json.dumps(told, indent=1))
        beside.replace(self.path)

    def _lacking(self, told: dict[str, Any]) -> list[str]:
        """Why it shows nothing, though no promise was broken; empty when it does."""
        lacking = [f"no {name}" for name in ("rounds", "answers", "faults") if not told[name]]
        if not self.ended:
            lacking.append("it did not get to its end")
        if self.every_kind and told["kinds_that_never_came"]:
            lacking.append(f"never came: {', '.join(told['kinds_that_never_came'])}")
        return lacking


def passed(told: dict[str, Any]) -> bool:
    """Whether no promise was broken, in a campaign that could have found one that is."""
    return not told["promises_broken"] and not told["shows_nothing_because"]
