from typing import Any

import pytest

from learnloop.errors import InvalidInput
from learnloop.models.gate import decide


def evaluation(accuracy: float, gain: float | None = None, changes: dict[str, float] | None = None) -> dict[str, Any]:
    scores = {
        "accuracy": accuracy,
        "per_class": {name: {"accuracy": accuracy, "support": support} for name, support in {"a": 40, "b": 8}.items()},
        "worst_class": "b",
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


def test_what_is_no_evaluation_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not the result of an evaluation"):
        decide({"candidate": {}, "current": None, "comparison": None}, min_gain=0, max_class_drop=0)
