"""Dawid and Skene's model finds again what answers were made from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from learnloop.annotation.quality.dawid_skene import Reliability, fit


def simulate(seed: int, items: int, confusions: np.ndarray, each: int):
    """``each`` different annotators answer every item."""
    random = np.random.default_rng(seed)
    people, classes = confusions.shape[:2]
    truth = random.integers(classes, size=items)
    who = np.stack([random.permutation(people)[:each] for _ in range(items)])
    said = np.array(
        [[random.choice(classes, p=confusions[person, truth[item]]) for person in who[item]] for item in range(items)]
    )
    return truth, np.repeat(np.arange(items), each), who.ravel(), said.ravel()


def confusion(right: float, classes: int = 3) -> np.ndarray:
    rest = (1 - right) / (classes - 1)
    return np.full((classes, classes), rest) + np.eye(classes) * (right - rest)


CROWD = np.array([confusion(0.95), confusion(0.9), confusion(0.45), confusion(0.4), confusion(0.4)])


def test_confusions_and_labels_are_found_again() -> None:
    truth, items, people, labels = simulate(1, 1500, CROWD, each=4)
    found = fit(items, people, labels, 3)
    assert np.abs(found.confusions - CROWD).max() < 0.08
    votes = np.zeros((1500, 3))
    np.add.at(votes, (items, labels), 1)
    right = (found.posteriors.argmax(axis=1) == truth).mean()
    assert right > (votes.argmax(axis=1) == truth).mean() + 0.05  # than the majority
    assert right > 0.93


def test_somebody_who_swaps_two_classes_is_seen_through() -> None:
    swaps = np.array([[0.05, 0.9, 0.05], [0.9, 0.05, 0.05], [0.05, 0.05, 0.9]])
    _, items, people, labels = simulate(
        2, 800, np.array([confusion(0.9), confusion(0.9), confusion(0.9), swaps]), each=4
    )
    found = fit(items, people, labels, 3)
    assert found.confusions[3][0].argmax() == 1
    assert found.confusions[3][1].argmax() == 0


def test_known_labels_stay_and_teach_the_rest() -> None:
    """Two annotators who contradict each other: without known labels nobody can say who is right."""
    truth, items, people, labels = simulate(3, 400, np.array([confusion(0.95, 2), confusion(0.05, 2)]), each=2)
    known = {item: int(truth[item]) for item in range(40)}
    found = fit(items, people, labels, 2, known=known)
    assert (found.posteriors[:40].argmax(axis=1) == truth[:40]).all()
    assert (found.posteriors.argmax(axis=1) == truth).mean() > 0.9
    assert found.confusions[1, 0].argmax() == 1


def test_likelihood_never_falls() -> None:
    _, items, people, labels = simulate(4, 200, CROWD, each=3)

    def likelihood(steps: int) -> float:
        found = fit(items, people, labels, 3, iterations=steps, pseudo_counts=0.0, tolerance=0)
        # The M-step of the posteriors, and the marginal likelihood it gives.
        priors = found.posteriors.mean(axis=0)
        counts = np.zeros((5, 3, 3))
        np.add.at(counts.transpose(0, 2, 1), (people, labels), found.posteriors[items])
        rows = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1e-10)
        each = np.tile(np.log(priors), (200, 1))
        np.add.at(each, items, np.log(rows + 1e-10)[people, :, labels])
        return float(np.log(np.exp(each).sum(axis=1)).sum())

    told = [likelihood(steps) for steps in (1, 2, 4, 8, 16, 32)]
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(told))
    assert told[-1] > told[0]


def test_a_later_item_is_judged_as_the_fit_would_have() -> None:
    _, items, people, labels = simulate(5, 300, CROWD, each=3)
    found = fit(items, people, labels, 3, iterations=500, tolerance=1e-12)
    names = [f"p{n}" for n in range(5)]
    told = Reliability(("a", "b", "c"), found.priors, dict(zip(names, found.confusions, strict=True)))
    again = Reliability.of(told.stored())
    for item in range(20):
        answers = [(names[p], "abc"[label]) for i, p, label in zip(items, people, labels, strict=True) if i == item]
        np.testing.assert_allclose(again.posterior(answers), found.posteriors[item], atol=1e-4)


def test_somebody_new_is_taken_for_the_mean() -> None:
    told = Reliability(("a", "b"), np.array([0.5, 0.5]), {"x": confusion(0.9, 2), "y": confusion(0.7, 2)})
    np.testing.assert_allclose(told.posterior([("new", "a")]), [0.8, 0.2], atol=1e-6)
    with pytest.raises(KeyError):
        told.posterior([("x", "c")])


def test_answers_that_do_not_fit_together() -> None:
    one = np.array([0])
    with pytest.raises(ValueError, match="needs an item"):
        fit(one, one, np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="needs an item"):
        fit(np.array([], dtype=int), np.array([], dtype=int), np.array([], dtype=int), 2)
