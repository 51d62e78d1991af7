"""The gate in front of an alias: whether a candidate may replace the current model. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from learnloop.errors import InvalidInput

SMALLEST_LOSS = 2  # samples of a class; one sample more or less is chance
_ROUNDING = 1e-9


@dataclass(frozen=True)
class GateDecision:
    accepted: bool
    reason: str


def decide(comparison: Mapping[str, Any], *, min_gain: float, max_class_drop: float) -> GateDecision:
    """Decide on what ``learnloop.training.evaluate`` wrote.

    The first model is accepted when it beats always answering the commonest class. A later one is accepted when its
    accuracy is at least ``min_gain`` above the current model's, and no class lost more than ``max_class_drop`` of
    its accuracy and at least two samples.

    Raises:
        InvalidInput: ``comparison`` is not an evaluation.
    """
    try:
        candidate, current, change = comparison["candidate"], comparison["current"], comparison["comparison"]
        if current is None:
            return _first(candidate)
        return _against(candidate, current, change, min_gain, max_class_drop)
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"this is not the result of an evaluation: {error!r}") from error


def _first(candidate: Mapping[str, Any]) -> GateDecision:
    supports = [of_class["support"] for of_class in candidate["per_class"].values()]
    chance = max(supports) / sum(supports)
    said = f"accuracy {candidate['accuracy']:.1%} on {sum(supports)} test samples"
    if candidate["accuracy"] > chance:
        return GateDecision(True, f"accepted as the first model: {said}, chance is {chance:.1%}")
    return GateDecision(False, f"rejected: {said} is no better than chance ({chance:.1%})")


def _against(
    candidate: Mapping[str, Any],
    current: Mapping[str, Any],
    change: Mapping[str, Any],
    min_gain: float,
    max_class_drop: float,
) -> GateDecision:
    gain, (low, high) = change["gain"], change["gain_interval"]
    said = (
        f"accuracy {candidate['accuracy']:.1%}, the current model's is {current['accuracy']:.1%}"
        f" ({_points(gain)}, 95 % interval {_points(low)} to {_points(high)})"
    )
    if gain < min_gain - _ROUNDING:
        return GateDecision(False, f"rejected: {said}; at least {_points(min_gain)} is asked for")
    dropped = []
    for name, difference in change["per_class"].items():
        support = candidate["per_class"][name]["support"]
        lost = round(-difference * support)
        if -difference > max_class_drop + _ROUNDING and lost >= SMALLEST_LOSS:
            dropped.append(f"{name!r} {_points(difference)} ({lost} of {support} samples)")
    if dropped:
        return GateDecision(
            False,
            f"rejected: {said}, but classes fell by more than {max_class_drop * 100:g} points: {', '.join(dropped)}",
        )
    worst = candidate["worst_class"]
    return GateDecision(
        True, f"accepted: {said}; the worst class is {worst!r} at {candidate['per_class'][worst]['accuracy']:.1%}"
    )


def _points(share: float) -> str:
    return f"{share * 100:+.1f} points"
