"""What the strategies `newest` and `most_agreed` choose, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from learnloop.datasets.merge.report import Advice

Votes = Mapping[tuple[str, str], frozenset[str]]
"""Who gave a sample a label: ``{(sample_id, label): annotators}``."""

_WHEN = "%Y-%m-%d %H:%M:%S UTC"


@dataclass(frozen=True)
class Side:
    """A side of the merge: its version's name, when it was made (UTC), and its number in the order of versions."""

    name: str
    made_at: datetime
    number: int


@dataclass(frozen=True)
class Advisor:
    """Gives advice about the conflicts of one merge."""

    ours: Side
    theirs: Side
    votes: Votes = field(default_factory=dict)

    def newest(self, ours: Mapping[str, Any] | None = None, theirs: Mapping[str, Any] | None = None) -> Advice:
        """The later annotation of two records; where times do not tell, the later version."""
        mine, other = ((record or {}).get("annotated_at") for record in (ours, theirs))
        if isinstance(mine, datetime) and isinstance(other, datetime) and mine != other:
            later, earlier = max(mine, other), min(mine, other)
            reason = f"annotated later: {later:{_WHEN}}, the other {earlier:{_WHEN}}"
            return Advice("theirs" if later is other else "ours", reason)
        later_side = max(self.ours, self.theirs, key=lambda side: (side.made_at, side.number))
        reason = f"the later version: {later_side.name}, made {later_side.made_at:{_WHEN}}"
        return Advice("theirs" if later_side is self.theirs else "ours", reason)

    def most_agreed(self, sample: str, ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> Advice:
        """The label that more people gave, each counted once; where that does not tell, the newest."""
        if ours is not None and theirs is not None and ours.get("label") != theirs.get("label"):
            mine, other = self._voters(sample, ours), self._voters(sample, theirs)
            if len(mine) != len(other):
                more, fewer, record = (other, mine, theirs) if len(other) > len(mine) else (mine, other, ours)
                reason = f"{len(more)} gave {record['label']!r} ({', '.join(sorted(more))}), {len(fewer)} the other"
                return Advice("theirs" if record is theirs else "ours", reason)
            why = f"as many people gave either label ({len(mine)})" if mine else "nobody is named for either label"
            return self.fallback(ours, theirs, why)
        return self.fallback(ours, theirs)

    def fallback(
        self,
        ours: Mapping[str, Any] | None = None,
        theirs: Mapping[str, Any] | None = None,
        why: str = "no votes to count here",
    ) -> Advice:
        """What `most_agreed` chooses where votes do not tell: the newest."""
        newest = self.newest(ours, theirs)
        return Advice(newest.choice, f"{why}, so the newest: {newest.reason}")

    def _voters(self, sample: str, record: Mapping[str, Any]) -> frozenset[str]:
        label, annotator = record.get("label"), record.get("annotator")
        if label is None:
            return frozenset()
        named = frozenset([annotator] if annotator else [])
        return self.votes.get((sample, label), frozenset()) | named
