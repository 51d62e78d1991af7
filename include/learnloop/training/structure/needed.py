"""When a model's structure should be looked at again. Pure: facts in, verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """When the structure is looked at again.

    Attributes:
        growth: the labelled data has grown by this factor since the structure was chosen.
        plateau_rounds: in so many rounds that trained since,
        plateau_gain: accuracy has grown by less than this.
        degradation: accuracy is so much below its best since; or so much lower on new random samples than at the gate.
    """

    growth: float = 1.5
    plateau_rounds: int = 3
    plateau_gain: float = 0.005
    degradation: float = 0.02


@dataclass(frozen=True)
class StructureFacts:
    """What is known since the structure was chosen, or last looked at.

    Attributes:
        accuracies: on the frozen test split, of the round that trained last before, and of those after it, oldest first.
        accuracy_at_gate: of the current model when it was accepted (None: not known).
        accuracy_now: of the same model on new samples drawn at random.
        accuracy_now_at_most: upper end of that one's 95 % interval.
    """

    labels: int
    labels_when_chosen: int
    accuracies: Sequence[float]
    accuracy_at_gate: float | None = None
    accuracy_now: float | None = None
    accuracy_now_at_most: float | None = None


@dataclass(frozen=True)
class Verdict:
    needed: bool
    reason: str


def structure_needed(facts: StructureFacts, rules: Rules) -> Verdict:
    """Whether to look at the structure now, and why, or what would be a reason."""
    if facts.labels == 0:
        return Verdict(False, "no round has trained yet")
    reason = _grown(facts, rules) or _degraded(facts, rules) or _on_a_plateau(facts, rules)
    if reason is not None:
        return Verdict(True, reason)
    wanted = int(-(-rules.growth * max(facts.labels_when_chosen, 1) // 1))
    rounds = max(rules.plateau_rounds - (len(facts.accuracies) - 1), 0)
    still = f"{rounds} more rounds without a gain" if rounds else "rounds without a gain"
    return Verdict(
        False,
        f"{facts.labels} labelled samples, {wanted} would be a reason to look again, and so would {still}, or a fall of"
        f" accuracy by {_points(rules.degradation)}",
    )


def _grown(facts: StructureFacts, rules: Rules) -> str | None:
    before = max(facts.labels_when_chosen, 1)
    if facts.labels < rules.growth * before:
        return None
    return (
        f"the labelled data has grown from {facts.labels_when_chosen} to {facts.labels} samples"
        f" (by {facts.labels / before:.1f}, {rules.growth:g} is enough) since the structure was chosen"
    )


def _degraded(facts: StructureFacts, rules: Rules) -> str | None:
    accuracies = facts.accuracies
    if accuracies and accuracies[-1] < max(accuracies) - rules.degradation:
        return f"accuracy has fallen from {max(accuracies):.1%} to {accuracies[-1]:.1%}"
    before, now, most = facts.accuracy_at_gate, facts.accuracy_now, facts.accuracy_now_at_most
    if before is None or now is None or most is None or before - now < rules.degradation or most >= before:
        return None
    return (
        f"accuracy on new random samples is {now:.1%} (at most {most:.1%}),"
        f" and was {before:.1%} when the model was accepted"
    )


def _on_a_plateau(facts: StructureFacts, rules: Rules) -> str | None:
    if len(facts.accuracies) <= rules.plateau_rounds:
        return None
    earlier, recent = facts.accuracies[-rules.plateau_rounds - 1], facts.accuracies[-rules.plateau_rounds :]
    if max(recent) >= earlier + rules.plateau_gain:
        return None
    return f"accuracy has not grown in the last {rules.plateau_rounds} rounds ({earlier:.1%} to {recent[-1]:.1%})"


def _points(share: float) -> str:
    return f"{share * 100:g} points"
