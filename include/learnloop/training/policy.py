"""When a round trains. Pure: facts in, verdict out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PolicyFacts:
    """What a training policy looks at."""

    waiting: int  # confirmed labels that no round has used
    open_round: int | None = None  # the number of the round under way, if any


@dataclass(frozen=True)
class Verdict:
    due: bool
    reason: str


def evaluate(facts: PolicyFacts, *, labels: int) -> Verdict:
    """Train when ``labels`` confirmed labels wait; one round at a time."""
    if facts.open_round is not None:
        return Verdict(False, f"round {facts.open_round} is under way; {facts.waiting} labels wait for the next")
    missing = labels - facts.waiting
    if missing > 0:
        return Verdict(False, f"{missing} more {'label' if missing == 1 else 'labels'} needed")
    return Verdict(True, f"{facts.waiting} confirmed labels wait, {labels} were needed")
