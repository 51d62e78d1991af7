"""The job entry points, run in this process on a staged dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learnloop.errors import InvalidInput
from learnloop.jobs.contract import JobResult, read_progress
from learnloop.models.gate import decide
from learnloop.training import models
from learnloop.training.evaluate import evaluate, expected_calibration_error
from learnloop.training.random_baseline import random_baseline
from learnloop.training.structure.choice import choose
from learnloop.training.train import train
from learnloop.training.trial import trial

RunJob = Callable[..., JobResult]


def test_train_then_warm_then_evaluate_then_gate(run_job: RunJob, dataset: Path) -> None:
    first = run_job(train, {"dataset": dataset}, name="mlp", hidden=[16], max_epochs=20)
    assert first.result["labels"] == 100
    assert first.result["params"]["hidden"] == [16]
    assert "models/model/MLmodel" in first.outputs
    assert read_progress(first.results_dir)[-1]["done"] is True

    folder = first.path("models/model")
    second = run_job(train, {"dataset": dataset, "parent": folder}, name="mlp", hidden=[16])
    assert second.result["metrics"]["start"].startswith("warm")
    scratch = run_job(train, {"dataset": dataset, "parent": folder}, name="mlp", hidden=[16], from_scratch=True)
    assert scratch.result["metrics"]["start"] == "cold: there is no parent"

    alone = run_job(evaluate, {"dataset": dataset, "candidate": folder}).result
    assert alone["current"] is None
    assert decide(alone, min_gain=0, max_class_drop=0.1).accepted

    better = second.path("models/model")
    both = run_job(evaluate, {"dataset": dataset, "candidate": better, "current": folder}).result
    candidate, comparison = both["candidate"], both["comparison"]
    assert both["test_samples"] == np.sum(candidate["confusion"]) == 120
    assert candidate["accuracy"] == pytest.approx(np.trace(candidate["confusion"]) / 120)
    assert comparison["gain"] == pytest.approx(candidate["accuracy"] - both["current"]["accuracy"])
    assert comparison["gain_interval"][0] <= comparison["gain"] <= comparison["gain_interval"][1]
    assert comparison["only_candidate_right"] - comparison["only_current_right"] == round(comparison["gain"] * 120)
    assert candidate["per_class"][candidate["worst_class"]]["accuracy"] <= candidate["accuracy"]
    assert candidate["latency_ms"] > 0
    bins = candidate["calibration"]
    assert sum(found["count"] for found in bins) == 120
    gap = sum(found["count"] * abs(found["confidence"] - found["accuracy"]) for found in bins) / 120
    assert candidate["ece"] == pytest.approx(gap)
    forgetting = comparison["forgetting"]
    assert forgetting["support"] == 120
    assert forgetting["forgotten"] == comparison["only_current_right"]
    assert comparison["per_class"] == {name: found["gain"] for name, found in comparison["by_class"].items()}
    assert decide(both, min_gain=0, max_class_drop=0.1).accepted is (comparison["gain"] >= 0)


def test_trials_can_be_compared_and_leave_their_models(run_job: RunJob, dataset: Path) -> None:
    small, large = (
        run_job(trial, {"dataset": dataset}, name="mlp", hidden=hidden, parameters={"max_epochs": 15})
        for hidden in ([2], [32])
    )
    assert len(small.result["accuracies"]) == 10
    named = [{**made.result, "described": str(made.result["hidden"])} for made in (small, large)]
    choice = choose(named)
    assert choice.index == 1
    assert "[32] is better than [2]" in choice.reason
    assert choose(named[::-1]).index is None
    model = models.load(large.path("models/model"))
    assert model.size == large.result["model_bytes"]
    assert len(model.estimator[-1].coefs_[0][0]) == 32


def test_a_trial_starts_as_its_training_will(run_job: RunJob, dataset: Path) -> None:
    """Grown from the current structure, fitted on the same samples; warm as a round is; or from fresh weights."""
    current = {"name": "mlp", "hidden": [4], "parameters": {"max_epochs": 4}}

    def start(**params: Any) -> str:
        made = run_job(trial, {"dataset": dataset}, name="mlp", parameters={"max_epochs": 4}, **params).result
        return str(made["start"])

    assert start(hidden=[8], start="grown", current=current) == "grown: the parent's function, in more units"
    assert start(hidden=[2], start="grown", current=current) == "pruned: the parent's units that matter most"
    assert start(hidden=[4], start="warm", current=current).startswith("warm")
    assert start(hidden=[8], start="cold", current=None) == "cold: there is no parent"


def test_random_baseline(run_job: RunJob, dataset: Path) -> None:
    found = run_job(random_baseline, {"dataset": dataset}, name="logistic", counts=[90, 30], seeds=3).result
    assert list(found["accuracy"]) == ["30", "90"]
    assert found["accuracy"]["90"] > found["accuracy"]["30"] > 0.5
    with pytest.raises(InvalidInput, match="asks for 101 samples, but the pool holds 100"):
        run_job(random_baseline, {"dataset": dataset}, name="logistic", counts=[101])


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    probabilities = np.tile([0.8, 0.2], (10, 1))
    assert expected_calibration_error(probabilities, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert expected_calibration_error(probabilities, np.array([0] * 3 + [1] * 7)) == pytest.approx(0.5)
