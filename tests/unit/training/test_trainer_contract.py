"""What every trainer promises, on images, texts and rows; a new one is tested by being registered."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import learning_sets
import numpy as np
import pytest
import yaml
from trainer_names import NAMES

from learnloop.datasets.recipes import recipe_of
from learnloop.datasets.schema import parse_config
from learnloop.errors import InvalidInput
from learnloop.training.models import probabilities
from learnloop.training.saving import save
from learnloop.training.trainers import SCALES, Trainer, checkpoint, trainer


@dataclass(frozen=True)
class Task:
    """What a trainer gets: features by the task's own recipe; the last third is for testing."""

    kind: str
    X: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    reach: float

    def trainer(self, name: str, **params: Any) -> Trainer:
        quick = {"iterations": 30} if name == "boosting" and self.kind != "tabular_classification" else {}
        return trainer({"name": name, "scale": SCALES.get(self.kind, "shared"), **quick, **params})

    def accuracy(self, pipeline: Any) -> float:
        part = slice(len(self.y) * 2 // 3, None)
        return float((probabilities(pipeline, self.classes)(self.X[part]).argmax(axis=1) == self.y[part]).mean())

    @property
    def train(self) -> slice:
        return slice(0, len(self.y) * 2 // 3)


def by_recipe(data: learning_sets.LearningSet, reach: float) -> Task:
    config = parse_config(yaml.safe_dump({**data.description, "name": data.name}).encode(), "dataset.yaml")
    recipe = recipe_of(config)
    X = np.stack([recipe.row(sample, str(row)) for row, sample in enumerate(data.samples)])
    classes = tuple(config.classes)
    return Task(config.task_type, X, np.array([classes.index(label) for label in data.labels]), classes, reach)


@pytest.fixture(scope="session", params=["image", "tabular", "text"])
def task(request: pytest.FixtureRequest, digits: tuple[np.ndarray, np.ndarray]) -> Task:
    if request.param == "image":
        return Task("image_classification", digits[0][:450], digits[1][:450], tuple("0123456789"), 0.8)
    if request.param == "tabular":
        return by_recipe(learning_sets.wine(), 0.9)
    return by_recipe(learning_sets.docstrings(), 0.68)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_learns_repeats_itself_and_comes_back_from_its_file(name: str, task: Task, tmp_path: Path) -> None:
    X, y = task.X[task.train], task.y[task.train]
    told: list[dict[str, Any]] = []
    first = task.trainer(name).fit(X, y, task.classes, seed=1, progress=lambda **fields: told.append(fields))
    assert task.accuracy(first.pipeline) > task.reach
    again = task.trainer(name).fit(X, y, task.classes, seed=1)
    np.testing.assert_array_equal(first.pipeline.predict_proba(task.X), again.pipeline.predict_proba(task.X))
    assert told[-1]["done"] is True
    assert 0 < told[-1]["epoch"] <= told[-1]["max_epochs"]
    saved = save(first.pipeline, tmp_path / "model", task.classes, X[:16])
    np.testing.assert_allclose(saved.predict_proba(task.X), first.pipeline.predict_proba(task.X), atol=1e-5)


def test_learning_new_samples_does_not_forget_the_old(name: str, task: Task) -> None:
    X, y = task.X[task.train], task.y[task.train]
    half = len(y) // 2
    parent = task.trainer(name).fit(X[:half], y[:half], task.classes, seed=0)
    child = task.trainer(name).fit(X, y, task.classes, parent=parent.pipeline, seed=0)
    old = probabilities(child.pipeline, task.classes)(X[:half]).argmax(axis=1) == y[:half]
    assert old.mean() > 0.95
    assert task.accuracy(child.pipeline) > task.accuracy(parent.pipeline) - 0.03


def test_a_class_nobody_has_seen_and_a_class_of_one_sample(name: str, task: Task) -> None:
    """Class 0 comes later, class 1 has a single sample."""
    X, y = task.X[task.train], task.y[task.train]
    single = np.flatnonzero(y == 1)[:1]
    seen = np.sort(np.concatenate([np.flatnonzero(y > 1), single]))
    found = task.trainer(name).fit(X[seen], y[seen], task.classes, seed=0)
    predicted = probabilities(found.pipeline, task.classes)(X)
    assert predicted.shape == (len(X), len(task.classes))
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
    later = task.trainer(name).fit(X, y, task.classes, parent=found.pipeline, seed=0)
    assert task.accuracy(later.pipeline) > task.reach - 0.03


def test_a_class_that_is_new_to_the_dataset(name: str, task: Task) -> None:
    """The parent's dataset did not list the last class, and has its others in another order."""
    X, y = task.X[task.train], task.y[task.train]
    before = task.classes[:-1][::-1]
    known = np.flatnonzero(y < len(before))
    y_before = np.array([before.index(task.classes[label]) for label in y[known]])
    parent = task.trainer(name).fit(X[known], y_before, before, seed=0)
    child = task.trainer(name).fit(X, y, task.classes, parent=parent.pipeline, seed=0)
    assert task.accuracy(child.pipeline) > task.reach - 0.03
    start = child.metrics["start"]
    if len(before) > 2 and name != "boosting":
        assert start.startswith("warm"), start
        assert "1 new classes start afresh" in start
    else:
        assert start.startswith(("warm", "cold: the parent")), start


def test_a_killed_fit_resumes_to_the_same_model(
    name: str, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0)
    if name == "logistic":
        monkeypatch.setattr(sys.modules["learnloop.training.trainers.logistic"], "STEPS", 4)
    X, y = task.X[task.train], task.y[task.train]
    calls = []

    def kill(**fields: Any) -> None:
        calls.append(fields)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        task.trainer(name).fit(X, y, task.classes, seed=3, progress=kill, checkpoint_dir=tmp_path)
    resumed = task.trainer(name).fit(X, y, task.classes, seed=3, checkpoint_dir=tmp_path)
    whole = task.trainer(name).fit(X, y, task.classes, seed=3)
    assert resumed.metrics["start"] == "resumed from a checkpoint"
    np.testing.assert_array_equal(resumed.pipeline.predict_proba(X), whole.pipeline.predict_proba(X))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.array([[1, 2], [np.nan, 1], [3, 4]]), [0, 1, 0], "1 of 3 rows hold NaN or infinity, such as row 1"),
        (np.array([[1, 2], [3, np.inf]]), [0, 1], "such as row 1"),
        (np.array([[1.0, 2]]), [0], "1 samples of 1 class; two classes are needed"),
        (np.ones((3, 2)), [1, 1, 1], "3 samples of 1 class"),
        (np.ones((0, 2)), [], "0 samples of 0 classes"),
        (np.ones((3, 2)), [0, 1], r"features of shape \(3, 2\) do not fit 2 labels"),
        (np.ones((2, 2)), [0, 2], "indices of the 2 classes, not 0 to 2"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(name: str, X: Any, y: list[int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        trainer({"name": name}).fit(X.astype(np.float32), np.array(y, dtype=np.int64), ("a", "b"), seed=0)


MEMORY = """
import resource, sys
import numpy as np
from learnloop.training.trainers import trainer
generator = np.random.default_rng(0)
def fit(n):
    X = generator.normal(size=(n, 100)).astype(np.float32)
    params = {"name": sys.argv[1], **({"max_epochs": 3} if sys.argv[1] in ("mlp", "sgd", "torch") else {})}
    params |= {"iterations": 5} if sys.argv[1] == "boosting" else {}
    trainer(params).fit(X, (X[:, 0] > 0).astype(np.int64), ("a", "b"), seed=0)
fit(2000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fit(50000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_is_bounded_by_a_few_copies_of_the_data(name: str) -> None:
    """50,000 x 100 float32 are 19 MiB; a fit may take ten times that (scaled and shuffled copies, some in float64)."""
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other on a busy machine take minutes
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, name], capture_output=True, text=True, timeout=600, check=False, env=alone
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 190


def test_boosting_stops_early_and_keeps_its_best_moment(digits: tuple[np.ndarray, np.ndarray]) -> None:
    noisy = np.random.default_rng(0).integers(0, 2, 400)
    found = trainer({"name": "boosting", "iterations": 500}).fit(digits[0][:400], noisy, ("a", "b"), seed=0)
    assert found.metrics["held_out"] > 50
    assert found.metrics["epochs"] < found.metrics["grown"] < 500
    assert found.pipeline[-1].n_iter_ == found.metrics["epochs"]
