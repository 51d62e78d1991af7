"""When a round trains. Pure: facts in, verdict out."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_CHECK = 5  # gold answers; a share of fewer says nothing


@dataclass(frozen=True)
class PolicyFacts:
    """What a training policy looks at; None (or 0 of 0) where nothing is known, or nothing was asked."""

    waiting: int  # confirmed labels that no round has used
    open_round: int | None = None  # the number of the round under way, if any
    hours_since_training: float | None = None  # since the last round that trained ended
    psi: float | None = None  # population stability index of what the current model predicts
    psi_of: str = "what the model predicts"
    psi_by_chance: float | None = None  # what 95 of 100 pairs of samples of one population stay below
    accuracy_at_gate: float | None = None  # of the current model, when it was accepted
    accuracy_now: float | None = None  # of the same model, on new samples drawn at random
    accuracy_now_at_most: float | None = None  # upper end of that one's 95 % interval
    gold_right: int = 0  # since the last round was opened
    gold_answers: int = 0


@dataclass(frozen=True)
class Rules:
    """A round is due at ``labels`` labels; and at ``min_labels`` when one of the other reasons holds (None: never).

    Attributes:
        interval_hours: so long after the last training.
        drift: a PSI of at least this, and more than chance makes.
        performance_drop: accuracy on new random samples is so much below that at the gate, and its whole interval below.
        quality: the share of gold tasks answered right without which no round is opened, whatever else holds.
    """

    labels: int = 40
    min_labels: int = 1
    interval_hours: float | None = None
    drift: float | None = None
    performance_drop: float | None = None
    quality: float | None = None


@dataclass(frozen=True)
class Verdict:
    due: bool
    reason: str


def evaluate(facts: PolicyFacts, rules: Rules) -> Verdict:
    """Whether to train now, and why, or what is missing; one round at a time."""
    if facts.open_round is not None:
        return Verdict(False, f"round {facts.open_round} is under way; {facts.waiting} labels wait for the next")
    reason = _reason(facts, rules)
    missing = rules.labels - facts.waiting
    if reason is None:
        return Verdict(False, f"{missing} more {_labels(missing)} needed")
    if facts.waiting < rules.min_labels:
        few = rules.min_labels - facts.waiting
        return Verdict(False, f"{few} more {_labels(few)} needed, though {reason}")
    if (doubt := _doubt(facts, rules)) is not None:
        return Verdict(False, f"{doubt}, though {reason}")
    return Verdict(True, reason)


def _reason(facts: PolicyFacts, rules: Rules) -> str | None:
    """The first reason to train that holds."""
    if facts.waiting >= rules.labels:
        return f"{facts.waiting} confirmed labels wait, {rules.labels} were needed"
    if rules.performance_drop is not None and _has_dropped(facts, rules.performance_drop):
        return (
            f"accuracy on new random samples is {facts.accuracy_now:.1%} (at most {facts.accuracy_now_at_most:.1%}),"
            f" and was {facts.accuracy_at_gate:.1%} when the model was accepted"
        )
    if rules.drift is not None and facts.psi is not None and facts.psi >= max(rules.drift, facts.psi_by_chance or 0):
        return f"{facts.psi_of} has drifted: PSI {facts.psi:.2f}, {rules.drift:g} is enough"
    hours = facts.hours_since_training
    if rules.interval_hours is not None and hours is not None and hours >= rules.interval_hours:
        return f"the last training ended {hours:.1f} hours ago, {rules.interval_hours:g} are enough"
    return None


def _has_dropped(facts: PolicyFacts, by: float) -> bool:
    before, now, most = facts.accuracy_at_gate, facts.accuracy_now, facts.accuracy_now_at_most
    if before is None or now is None or most is None:
        return False
    return before - now >= by and most < before


def _doubt(facts: PolicyFacts, rules: Rules) -> str | None:
    """What speaks against the answers that wait."""
    if rules.quality is None:
        return None
    right, answers = facts.gold_right, facts.gold_answers
    if answers < SMALLEST_CHECK:
        return f"{SMALLEST_CHECK - answers} more gold tasks must be answered to know how good the labels are"
    if right < rules.quality * answers:
        return (
            f"only {right} of {answers} gold tasks since the last round were answered right, {rules.quality:.0%} needed"
        )
    return None


def _labels(count: int) -> str:
    return "label" if count == 1 else "labels"
