from __future__ import annotations

from typing import Any

import pytest

from learnloop.training.policy import PolicyFacts, Rules, evaluate

DROPPED = {"accuracy_at_gate": 0.95, "accuracy_now": 0.8, "accuracy_now_at_most": 0.9}


@pytest.mark.parametrize(
    ("facts", "rules", "due", "reason"),
    [
        ({"waiting": 23}, {}, False, "17 more labels needed"),
        ({"waiting": 39}, {}, False, "1 more label needed"),
        ({"waiting": 40}, {}, True, "40 confirmed labels wait, 40 were needed"),
        ({"waiting": 99, "open_round": 3}, {}, False, "round 3 is under way; 99 labels wait for the next"),
        ({"waiting": 5, "hours_since_training": 25}, {}, False, "35 more labels needed"),
        (
            {"waiting": 5, "hours_since_training": 25},
            {"interval_hours": 24},
            True,
            "ended 25.0 hours ago, 24 are enough",
        ),
        ({"waiting": 5, "hours_since_training": 23}, {"interval_hours": 24}, False, "35 more labels needed"),
        ({"waiting": 5}, {"interval_hours": 24}, False, "35 more labels needed"),  # nothing was trained yet
        (
            {"waiting": 5, "hours_since_training": 25},
            {"interval_hours": 24, "min_labels": 8},
            False,
            "3 more labels needed, though the last training",
        ),
        ({"waiting": 0, "hours_since_training": 25}, {"interval_hours": 24}, False, "1 more label needed, though"),
        ({"waiting": 5, "psi": 0.3, "psi_by_chance": 0.1}, {"drift": 0.25}, True, "drifted: PSI 0.30, 0.25 is enough"),
        ({"waiting": 5, "psi": 0.3, "psi_by_chance": 0.4}, {"drift": 0.25}, False, "35 more labels"),
        ({"waiting": 5, "psi": 0.2, "psi_by_chance": 0.1}, {"drift": 0.25}, False, "35 more labels"),
        ({"waiting": 5, "psi": 0.3}, {}, False, "35 more labels"),
        ({"waiting": 5, **DROPPED}, {"performance_drop": 0.1}, True, "is 80.0% (at most 90.0%), and was 95.0%"),
        ({"waiting": 5, **DROPPED}, {"performance_drop": 0.2}, False, "35 more labels"),
        ({"waiting": 5, **DROPPED, "accuracy_now_at_most": 0.96}, {"performance_drop": 0.1}, False, "35 more labels"),
        ({"waiting": 50}, {"quality": 0.8}, False, "5 more gold tasks must be answered to know"),
        (
            {"waiting": 50, "gold_right": 7, "gold_answers": 10},
            {"quality": 0.8},
            False,
            "only 7 of 10 gold tasks since the last round were answered right, 80% needed, though 50 confirmed",
        ),
        ({"waiting": 50, "gold_right": 8, "gold_answers": 10}, {"quality": 0.8}, True, "50 confirmed labels wait"),
        ({"waiting": 5, "gold_right": 0, "gold_answers": 10}, {"quality": 0.8}, False, "35 more labels needed"),
    ],
)
def test_evaluate(facts: dict[str, Any], rules: dict[str, Any], due: bool, reason: str) -> None:
    verdict = evaluate(PolicyFacts(**facts), Rules(**rules))
    assert verdict.due is due
    assert reason in verdict.reason
