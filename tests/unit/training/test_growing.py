"""An enlarged network computes what it did before: Net2Net's promise, to rounding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import Pipeline

from learnloop.training.trainers import trainer
from learnloop.training.trainers.base import fit_scaler
from learnloop.training.trainers.growing import Network, keeps_its_function, reshaped

widths = st.lists(st.integers(1, 12), min_size=1, max_size=3)
seeds = st.integers(0, 2**32 - 1)


def random_network(
    hidden: list[int], seed: int, inputs: int = 5, outputs: int = 4, dtype: type = np.float64
) -> Network:
    generator = np.random.default_rng(seed)
    sizes = [inputs, *hidden, outputs]
    return Network(
        [generator.normal(size=pair).astype(dtype) for pair in itertools.pairwise(sizes)],
        [generator.normal(size=size).astype(dtype) for size in sizes[1:]],
    )


def computed(network: Network, rows: np.ndarray) -> np.ndarray:
    for weights, biases in zip(network.weights[:-1], network.biases[:-1], strict=True):
        rows = np.maximum(rows @ weights + biases, 0)
    return rows @ network.weights[-1] + network.biases[-1]


ROWS = np.random.default_rng(0).normal(size=(64, 5))


@given(before=widths, data=st.data(), seed=seeds)
@settings(max_examples=200)
def test_wider_and_deeper_computes_the_same(before: list[int], data: st.DataObject, seed: int) -> None:
    wider = [width + data.draw(st.integers(0, 20)) for width in before]
    added = data.draw(st.lists(st.integers(0, 10), max_size=3))
    after = [*wider, *(before[-1] + more for more in added)]
    assert keeps_its_function(before, after)
    old = random_network(before, seed)
    new = reshaped(old, after, seed)
    assert new is not None
    assert new.hidden == after
    np.testing.assert_allclose(computed(new, ROWS), computed(old, ROWS), rtol=1e-9, atol=1e-9)


@given(before=widths, after=widths, seed=seeds)
def test_any_other_structure_has_its_shape_or_is_refused(before: list[int], after: list[int], seed: int) -> None:
    old = random_network(before, seed, dtype=np.float32)
    new = reshaped(old, after, seed)
    assert (new is None) == (len(after) < len(before))
    if new is not None:
        assert new.hidden == after
        assert [part.shape[1] for part in new.weights] == [len(part) for part in new.biases] == [*after, 4]
        assert {part.dtype for part in [*new.weights, *new.biases]} == {np.dtype(np.float32)}
        if not keeps_its_function(before, after):
            return
        np.testing.assert_allclose(computed(new, ROWS), computed(old, ROWS), rtol=1e-3, atol=1e-3)


def test_copies_do_not_stay_copies() -> None:
    """Their gradients differ, since they lead on by different weights."""
    new = reshaped(random_network([3], 0), [9], 0)
    assert new is not None
    for unit in range(3, 9):
        twins = [other for other in range(9) if np.array_equal(new.weights[0][:, other], new.weights[0][:, unit])]
        leading_on = new.weights[1][twins]
        assert len(twins) > 1
        assert len(np.unique(leading_on[:, 0])) == len(twins)


def test_pruning_keeps_the_units_that_matter() -> None:
    network = random_network([6], 1)
    network.weights[1][[0, 2, 5]] *= 1e-6  # lead on to nothing
    new = reshaped(network, [3], 0)
    assert new is not None
    np.testing.assert_array_equal(new.weights[0], network.weights[0][:, [1, 3, 4]])
    np.testing.assert_allclose(computed(new, ROWS), computed(network, ROWS), atol=1e-3)


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ([8], [8], True),
        ([8], [16], True),
        ([8], [8, 8], True),
        ([8], [16, 8], True),
        ([8], [8, 4], False),
        ([8], [4], False),
        ([8, 8], [8], False),
        ([8, 4], [8, 4, 4], True),
    ],
)
def test_what_keeps_its_function(before: list[int], after: list[int], kept: bool) -> None:
    assert keeps_its_function(before, after) is kept


CLASSES = ("ant", "bee", "cat", "dog")


def started(params: dict, X: np.ndarray, y: np.ndarray, classes: tuple[str, ...], parent: Pipeline, seed: int):
    """The trainer's model before its first epoch, and how it starts."""
    scaler = fit_scaler(X, params.get("scale", "shared"))
    classifier, start = trainer({"name": "mlp", **params}).start(
        scaler.transform(X).astype(np.float32), np.array(classes)[y], classes, scaler, parent=parent, seed=seed
    )
    return Pipeline([("scaler", scaler), ("classifier", classifier)]), start


@given(
    scale=st.sampled_from(["shared", "each", "rarity"]),
    classes=st.integers(2, 4),
    after=st.sampled_from([[17], [6, 6], [9, 6, 8], [6, 40]]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_the_trainer_starts_from_a_model_that_predicts_what_its_parent_does(
    scale: str, classes: int, after: list[int], seed: int
) -> None:
    """Behind a scaler of its own, for other samples: more of them have come since."""
    generator = np.random.default_rng(seed)
    X = np.abs(generator.normal(3, 2, size=(80, 7))).astype(np.float32)
    y = generator.integers(classes, size=80)
    y[:classes] = range(classes)
    names = CLASSES[:classes]
    first = {"hidden": [6], "scale": scale, "max_epochs": 5}
    parent = trainer({"name": "mlp", **first}).fit(X[:40], y[:40], names, seed=seed).pipeline
    model, start = started({**first, "hidden": after, "grow": True}, X, y, names, parent, seed)
    np.testing.assert_allclose(model.predict_proba(X), parent.predict_proba(X), atol=2e-5)
    assert start.startswith("grown"), start


def test_what_cannot_be_grown_from_starts_afresh_and_says_why(digits: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = digits[0][:60], digits[1][:60]
    classes = tuple("0123456789")
    parent = trainer({"name": "mlp", "hidden": [8, 8], "max_epochs": 3}).fit(X, y, classes, seed=0).pipeline
    assert started({"hidden": [16]}, X, y, classes, parent, 0)[1] == "cold: the parent has another structure"
    grow = {"grow": True}
    assert (
        started({"hidden": [16], **grow}, X, y, classes, parent, 0)[1]
        == "cold: the parent has 2 hidden layers, more than 1"
    )
    assert started({"hidden": [8, 4], **grow}, X, y, classes, parent, 0)[1].startswith("pruned")
    fewer = X[:, :30]
    assert started({"hidden": [8, 8], **grow}, fewer, y, classes, parent, 0)[1] == "cold: the parent has other features"
    linear = trainer({"name": "logistic"}).fit(X, y, classes, seed=0).pipeline
    assert started({"hidden": [16], **grow}, X, y, classes, linear, 0)[1].startswith(
        "cold: the parent is no perceptron"
    )


def test_a_class_that_came_later_starts_afresh_beside_what_the_parent_knew(
    digits: tuple[np.ndarray, np.ndarray],
) -> None:
    X, y = digits[0][:200], digits[1][:200]
    known = y < 9
    parent = trainer({"name": "mlp", "hidden": [8]}).fit(X[known], y[known], tuple("012345678"), seed=0).pipeline
    model, start = started({"hidden": [24], "grow": True}, X, y, tuple("0123456789"), parent, 0)
    assert start == "grown: the parent's function, in more units; 1 new classes start afresh"
    before = parent.predict_proba(X)
    now = model.predict_proba(X)[:, :9]
    np.testing.assert_allclose(now / now.sum(axis=1, keepdims=True), before, atol=2e-5)
