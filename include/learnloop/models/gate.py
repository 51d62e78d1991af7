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


def decide(
    comparison: Mapping[str, Any],
    *,
    min_gain: float,
    max_class_drop: float,
    confident: bool = False,
    max_latency_ms: float | None = None,
    max_model_bytes: int | None = None,
    max_ece: float | None = None,
) -> GateDecision:
    """Decide on what ``learnloop.training.evaluate`` wrote.

    The first model is accepted when it beats always answering the commonest class. A later one is accepted when its
    accuracy is at least ``min_gain`` above the current model's, and no class lost more than ``max_class_drop`` of
    its accuracy and at least two samples. Either has to keep within the budgets that are given.

    Args:
        confident: the lower end of the gain's 95 % interval must reach ``min_gain``, not the gain itself.
        max_latency_ms: of one row, the median.
        max_model_bytes: of the model's file.
        max_ece: expected calibration error, 0 to 1.

    Raises:
        InvalidInput: ``comparison`` is not an evaluation.
    """
    try:
        candidate, current, change = comparison["candidate"], comparison["current"], comparison["comparison"]
        over = _over_budget(candidate, {"latency_ms": max_latency_ms, "model_bytes": max_model_bytes, "ece": max_ece})
        if current is None:
            return _first(candidate, over)
        return _against(candidate, current, change, min_gain, max_class_drop, confident, over)
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"this is not the result of an evaluation: {error!r}") from error


def _over_budget(candidate: Mapping[str, Any], budgets: Mapping[str, float | None]) -> list[str]:
    words = {
        "latency_ms": "a row takes {:.3g} ms, at most {:.3g} are allowed",
        "model_bytes": "its file has {:,.0f} bytes, at most {:,.0f} are allowed",
        "ece": "its calibration error is {:.3f}, at most {:.3f} is allowed",
    }
    return [
        words[name].format(candidate[name], most)
        for name, most in budgets.items()
        if most is not None and candidate[name] > most
    ]


def _first(candidate: Mapping[str, Any], over: list[str]) -> GateDecision:
    supports = [of_class["support"] for of_class in candidate["per_class"].values()]
    chance = max(supports) / sum(supports)
    said = f"accuracy {candidate['accuracy']:.1%} on {sum(supports)} test samples"
    if candidate["accuracy"] <= chance:
        return GateDecision(False, f"rejected: {said} is no better than chance ({chance:.1%})")
    if over:
        return GateDecision(False, f"rejected: {said}, but {'; '.join(over)}")
    return GateDecision(True, f"accepted as the first model: {said}, chance is {chance:.1%}")


def _against(
    candidate: Mapping[str, Any],
    current: Mapping[str, Any],
    change: Mapping[str, Any],
    min_gain: float,
    max_class_drop: float,
    confident: bool,
    over: list[str],
) -> GateDecision:
    gain, (low, high) = change["gain"], change["gain_interval"]
    said = (
        f"accuracy {candidate['accuracy']:.1%}, the current model's is {current['accuracy']:.1%}"
        f" ({_points(gain)}, 95 % interval {_points(low)} to {_points(high)}{_noise(low, high)})"
    )
    if gain < min_gain - _ROUNDING:
        return GateDecision(False, f"rejected: {said}; at least {_points(min_gain)} is asked for")
    if confident and low < min_gain - _ROUNDING:
        return GateDecision(
            False, f"rejected: {said}; the whole interval has to be at least {_points(min_gain)}, and is not"
        )
    dropped = []
    for name, difference in change["per_class"].items():
        support = candidate["per_class"][name]["support"]
        lost = round(-difference * support)
        if -difference > max_class_drop + _ROUNDING and lost >= SMALLEST_LOSS:
            dropped.append(f"{name!r} {_points(difference)} ({lost} of {support} samples)")
    if dropped:
        over = [f"classes fell by more than {max_class_drop * 100:g} points: {', '.join(dropped)}", *over]
    if over:
        return GateDecision(False, f"rejected: {said}, but {'; '.join(over)}")
    worst = candidate["worst_class"]
    return GateDecision(
        True, f"accepted: {said}; the worst class is {worst!r} at {candidate['per_class'][worst]['accuracy']:.1%}"
    )


def _noise(low: float, high: float) -> str:
    """Better or worse is said only where the interval says so."""
    return ": better" if low > 0 else ": worse" if high < 0 else ": no difference beyond chance"


def _points(share: float) -> str:
    return f"{share * 100:+.1f} points"
