"""Wrong labels among right ones are found by the model's own probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from learnloop.annotation.quality.suspicion import ENOUGH, suspects


def made(n: int, classes: int, wrong: int, seed: int = 0):
    """``n`` labels, the first ``wrong`` of them wrong, and probabilities of a model that is right and fairly sure."""
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=n)
    scores = random.dirichlet(np.full(classes, 0.3), size=n) * 0.3
    scores[np.arange(n), truth] += 0.7
    labels = truth.copy()
    labels[:wrong] = (truth[:wrong] + 1) % classes
    return labels, scores


def test_wrong_labels_are_found() -> None:
    labels, probabilities = made(400, 4, wrong=12)
    found = suspects(labels.tolist(), probabilities)
    assert len(found) >= 6  # those where the model is surer than it usually is
    assert set(found) <= set(range(12))  # and none that is right


def test_right_labels_are_not_suspected() -> None:
    labels, probabilities = made(400, 4, wrong=0)
    assert suspects(labels.tolist(), probabilities) == []


def test_a_class_that_nobody_has_given_yet_is_no_obstacle() -> None:
    labels, probabilities = made(200, 4, wrong=0)
    keep = labels != 2
    labels, probabilities = labels[keep], probabilities[keep]
    labels[:8] = [{0: 1, 1: 3, 3: 0}[int(label)] for label in labels[:8]]
    found = suspects(labels.tolist(), probabilities)
    assert found
    assert set(found) <= set(range(8))


@pytest.mark.parametrize("n", [0, 1, ENOUGH - 1])
def test_few_labels_say_nothing(n: int) -> None:
    labels, probabilities = made(n, 3, wrong=min(n, 1))
    assert suspects(labels.tolist(), probabilities) == []


def test_one_class_alone_says_nothing() -> None:
    _, probabilities = made(100, 3, wrong=0)
    assert suspects([1] * 100, probabilities) == []
