"""A model is better only where the interval says so; what a parent knew is measured apart from what is new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from training_support import write_dataset

from learnloop.jobs.contract import JobResult
from learnloop.models.approval import approval_text
from learnloop.training.data import read
from learnloop.training.evaluate import evaluate, paired
from learnloop.training.leakage import near_duplicates
from learnloop.training.train import train
from learnloop.training.trainers import TRAINERS
from learnloop.training.trainers.logistic import LogisticTrainer

Digits = tuple[np.ndarray, np.ndarray]
RunJob = Callable[..., JobResult]


def answers(*runs: tuple[bool, int]) -> np.ndarray:
    return np.concatenate([np.full(count, value) for value, count in runs])


def test_the_verdict_needs_the_whole_interval() -> None:
    before = answers((True, 80), (False, 20))
    few = answers((True, 82), (False, 18))
    assert paired(few, before, 0)["verdict"] == "no difference"
    many = answers((True, 92), (False, 8))
    assert paired(many, before, 0)["verdict"] == "better"
    assert paired(before, many, 0)["verdict"] == "worse"
    same = paired(before, before, 0)
    assert (same["gain"], same["gain_interval"], same["verdict"]) == (0, [0, 0], "no difference")


def test_the_interval_covers_the_true_gain_about_as_often_as_it_says() -> None:
    """200 test sets of 200 from a population where the gain is 0.05: the interval holds it in about 95 of 100."""
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        drawn = generator.choice([1, -1, 0], p=[0.1, 0.05, 0.85], size=200)
        low, high = paired(drawn >= 0, drawn <= 0, seed)["gain_interval"]
        covered += low <= 0.05 <= high
    assert 0.9 <= covered / 200 <= 0.99


def test_a_new_class_is_no_excuse_and_no_forgetting(run_job: RunJob, digits: Digits, tmp_path: Path) -> None:
    """Digits 0 to 7, then all ten: both models are scored on the same test split, forgetting on what the parent knew."""
    X, y = digits[0][:600], digits[1][:600]
    splits: list[str | None] = ["test"] * 300 + ["train"] * 300
    eight = [str(label) if label < 8 else None for label in y]
    old = write_dataset(tmp_path / "old", X, eight, splits)
    (old / "dataset.yaml").write_text(yaml.safe_dump({"classes": list("76543210")}))
    new = write_dataset(tmp_path / "new", X, [str(label) for label in y], splits)
    parent = run_job(train, {"dataset": old}, name="mlp").path("models/model")
    child = run_job(train, {"dataset": new, "parent": parent}, name="mlp")
    assert child.result["metrics"]["start"].endswith("2 new classes start afresh")
    result = run_job(evaluate, {"dataset": new, "candidate": child.path("models/model"), "current": parent}).result
    change = result["comparison"]
    assert (result["test_samples"], result["current"]["per_class"]["8"]["accuracy"]) == (300, 0)
    assert change["by_class"]["8"]["verdict"] == change["verdict"] == "better"
    known = int(np.sum(y[:300] < 8))
    assert change["forgetting"]["support"] == known
    assert change["forgetting"]["accuracy_before"] > 0.8
    assert change["forgetting"]["accuracy"] > change["forgetting"]["accuracy_before"] - 0.06
    text = approval_text(result, "accepted: better")
    assert f"on {result['test_samples']} test samples" in text
    assert ": better) |" in text


class Recording(LogisticTrainer):
    """Keeps what a job gives its trainer."""

    def fit(self, X: Any, y: Any, classes: Any, **options: Any) -> Any:
        SEEN.append(X)
        return super().fit(X, y, classes, **options)


SEEN: list[np.ndarray] = []


def test_no_test_sample_is_trained_on_by_id_or_nearly(
    run_job: RunJob, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty training samples repeat test samples: ten the same, ten noisy, ten darker."""
    X, y = digits[0][:200].copy(), digits[1][:200].copy()
    noise = np.random.default_rng(0).normal(0, 4, (10, 64))
    X[100:110], X[110:120], X[120:130] = X[:10], np.clip(X[10:20] + noise, 0, 255), X[20:30] * 0.97
    y[100:130] = y[:30]
    folder = write_dataset(tmp_path / "d", X, [str(label) for label in y], ["test"] * 100 + ["train"] * 100)
    SEEN.clear()
    monkeypatch.setitem(TRAINERS, "recording", Recording)
    result = run_job(train, {"dataset": folder}, name="recording").result
    (trained_on,) = SEEN
    np.testing.assert_array_equal(trained_on, X[130:])
    assert result["labels"] == 70
    assert (result["near_test"]["found"], result["near_test"]["left_out"]) == (30, 30)
    assert {(pair["training"], pair["test"]) for pair in result["near_test"]["pairs"]} == {
        (f"s{100 + row:04d}", f"s{row:04d}") for row in range(30)
    }
    data = read(folder)
    tests = {data.sample_ids[row] for row in np.flatnonzero(~data.train)}
    assert not tests & {pair.training for pair in near_duplicates(data)}


def test_strangers_are_no_duplicates_and_rows_of_a_table_are_only_told_of(
    run_job: RunJob, digits: Digits, tmp_path: Path
) -> None:
    X, y = digits[0][:600], digits[1][:600]
    folder = write_dataset(tmp_path / "d", X, [str(label) for label in y], ["test"] * 300 + ["train"] * 300)
    assert near_duplicates(read(folder)) == []
    X = X.copy()
    X[300] = X[0]
    folder = write_dataset(tmp_path / "t", X, [str(label) for label in y], ["test"] * 300 + ["train"] * 300)
    described = {"classes": list("0123456789"), "task_type": "tabular_classification"}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(described))
    result = run_job(train, {"dataset": folder}, name="logistic").result
    assert (result["labels"], result["near_test"]["found"], result["near_test"]["left_out"]) == (300, 1, 0)
    assert result["params"]["scale"] == "each"


def test_what_a_class_is_called_changes_nothing_in_the_form() -> None:
    scores = {"accuracy": 0.5, "per_class": {"<b>|x|\n[a](b)": {"accuracy": 0.5, "support": 2}}, "ece": 0.1}
    candidate = {**scores, "latency_ms": 1.0, "model_bytes": 2048}
    text = approval_text({"candidate": candidate, "current": None, "comparison": None, "test_samples": 2}, "ok")
    last = text.splitlines()[-1]
    assert last.count("|") == 4
    assert not set("<[(") & set(last)
