from typing import Any

import pytest

from learnloop.errors import InvalidInput
from learnloop.models.gate import decide


def evaluation(accuracy: float, gain: float | None = None, changes: dict[str, float] | None = None) -> dict[str, Any]:
    scores = {
        "accuracy": accuracy,
        "per_class": {name: {"accuracy": accuracy, "support": support} for name, support in {"a": 40, "b": 8}.items()},
        "worst_class": "b",
        "latency_ms": 2.0,
        "model_bytes": 10_000,
        "ece": 0.08,
    }
    if gain is None:
        return {"candidate": scores, "current": None, "comparison": None}
    return {
        "candidate": scores,
        "current": {**scores, "accuracy": accuracy - gain},
        "comparison": {"gain": gain, "gain_interval": [gain - 0.01, gain + 0.01], "per_class": changes or {}},
    }


@pytest.mark.parametrize(
    ("compared", "accepted", "reason"),
    [
        (evaluation(0.9), True, "accepted as the first model: accuracy 90.0% on 48 test samples, chance is 83.3%"),
        (evaluation(0.8), False, "no better than chance (83.3%)"),
        (evaluation(0.95, 0.02), True, "current model's is 93.0% (+2.0 points"),
        (evaluation(0.95, 0.0), True, "+0.0 points"),
        (evaluation(0.95, -0.005), False, "at least +0.0 points is asked for"),
        (evaluation(0.95, 0.02, {"a": -0.25}), False, "'a' -25.0 points (10 of 40 samples)"),
        (evaluation(0.95, 0.02, {"a": -0.1}), True, "accepted"),
        # One sample of eight is 12.5 points, and chance.
        (evaluation(0.95, 0.02, {"b": -0.125}), True, "accepted"),
        (evaluation(0.95, 0.02, {"b": -0.25}), False, "(2 of 8 samples)"),
    ],
)
def test_decide(compared: dict[str, Any], accepted: bool, reason: str) -> None:
    decision = decide(compared, min_gain=0.0, max_class_drop=0.1)
    assert decision.accepted is accepted
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"max_latency_ms": 1.5}, "but a row takes 2 ms, at most 1.5 are allowed"),
        ({"max_model_bytes": 9_999}, "but its file has 10,000 bytes, at most 9,999 are allowed"),
        ({"max_ece": 0.05}, "but its calibration error is 0.080, at most 0.050 is allowed"),
        ({"max_ece": 0.05, "max_latency_ms": 1.5}, "but a row takes 2 ms, at most 1.5 are allowed; its calibration"),
        ({"max_latency_ms": 2.0, "max_model_bytes": 10_000, "max_ece": 0.08}, None),
    ],
)
@pytest.mark.parametrize("gain", [None, 0.02], ids=["first", "later"])
def test_budgets(rules: dict[str, Any], reason: str | None, gain: float | None) -> None:
    decision = decide(evaluation(0.95, gain), min_gain=0.0, max_class_drop=0.1, **rules)
    assert decision.accepted is (reason is None)
    assert (reason or "accepted") in decision.reason


@pytest.mark.parametrize(("gain", "accepted"), [(0.012, True), (0.008, False), (-0.02, False)])
def test_a_confident_gate_asks_the_whole_interval(gain: float, accepted: bool) -> None:
    """The interval is a point wide on each side."""
    decision = decide(evaluation(0.95, gain), min_gain=0.0, max_class_drop=0.1, confident=True)
    assert decision.accepted is accepted
    said = "better" if gain == 0.012 else "no difference beyond chance" if gain == 0.008 else "worse"
    assert f"points: {said})" in decision.reason


def test_every_reason_is_told_at_once() -> None:
    compared = evaluation(0.95, 0.02, {"a": -0.25})
    decision = decide(compared, min_gain=0.0, max_class_drop=0.1, max_ece=0.01)
    assert "'a' -25.0 points (10 of 40 samples); its calibration error" in decision.reason


def test_what_is_no_evaluation_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not the result of an evaluation"):
        decide({"candidate": {}, "current": None, "comparison": None}, min_gain=0, max_class_drop=0)
