"""What holds for every trainer; a new one is tested by being registered."""

from typing import Any

import numpy as np
import pytest
from trainer_names import NAMES
from training_support import CLASSES

from learnloop.errors import InvalidInput
from learnloop.training.models import probabilities
from learnloop.training.trainers import mlp, trainer

Digits = tuple[np.ndarray, np.ndarray]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def accuracy(pipeline: Any, X: np.ndarray, y: np.ndarray) -> float:
    return float((probabilities(pipeline, CLASSES)(X).argmax(axis=1) == y).mean())


def test_learns_is_deterministic_and_a_warm_start_is_no_worse(name: str, digits: Digits) -> None:
    X, y = digits
    first = trainer({"name": name}).fit(X[:100], y[:100], CLASSES, seed=1)
    again = trainer({"name": name}).fit(X[:100], y[:100], CLASSES, seed=1)
    np.testing.assert_array_equal(first.pipeline.predict_proba(X[:50]), again.pipeline.predict_proba(X[:50]))
    assert accuracy(first.pipeline, X[600:], y[600:]) > (0.7 if name == "boosting" else 0.85)
    cold = trainer({"name": name}).fit(X[:220], y[:220], CLASSES, seed=2)
    warm = trainer({"name": name}).fit(X[:220], y[:220], CLASSES, parent=first.pipeline, seed=2)
    assert warm.metrics["start"].startswith("cold: the parent's trees" if name == "boosting" else "warm")
    assert accuracy(warm.pipeline, X[600:], y[600:]) > accuracy(cold.pipeline, X[600:], y[600:]) - 0.01


def test_classes_without_samples_are_no_trouble(name: str, digits: Digits) -> None:
    X, y = digits
    few = np.flatnonzero(y < 4)[:40]
    found = trainer({"name": name}).fit(X[few], y[few], CLASSES, seed=0)
    predict = probabilities(found.pipeline, CLASSES)
    assert predict(X[:7]).shape == (7, 10)
    assert set(predict(X[few]).argmax(axis=1)) <= set(range(4))
    # Those classes arrive: the model of before them is still a parent, or says why not.
    later = trainer({"name": name}).fit(X[:200], y[:200], CLASSES, parent=found.pipeline, seed=0)
    assert accuracy(later.pipeline, X[600:], y[600:]) > (0.8 if name == "boosting" else 0.88)


def test_a_parent_that_does_not_fit_is_not_used(name: str, digits: Digits) -> None:
    X, y = digits
    other = trainer({"name": "mlp", "hidden": [8], "max_epochs": 1}).fit(X[:50], y[:50], CLASSES, seed=0)
    for parent in (other.pipeline, other.pipeline[-1]):
        found = trainer({"name": name}).fit(X[:50], y[:50], CLASSES, parent=parent, seed=0)
        assert found.metrics["start"].startswith("cold: the parent")


def test_the_same_function_behind_a_new_scaler(digits: Digits) -> None:
    X, y = digits
    pipeline = trainer({"max_epochs": 5}).fit(X[:100], y[:100], CLASSES, seed=0).pipeline
    new = mlp.fit_scaler(X[500:700] * 0.5 + 3)
    moved = pipeline[-1]
    before = pipeline.predict_proba(X[:20])
    network = mlp._rescaled(moved, pipeline[0], new)
    moved.coefs_, moved.intercepts_ = network.weights, network.biases
    np.testing.assert_allclose(moved.predict_proba(new.transform(X[:20])), before, atol=1e-4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "forest"}, "no trainer 'forest'; there are boosting, logistic, mlp, sgd"),
        ({"hidden": [0]}, "hidden.0: .*greater than or equal to 1"),
        ({"layers": [3]}, "layers: Extra inputs"),
    ],
)
def test_wrong_parameters_are_named(params: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        trainer(params)
