"""Dawid and Skene's model: the true labels, and how each annotator confuses classes, from answers alone.

A. P. Dawid, A. M. Skene: Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm. Applied Statistics
28 (1979). Written here and not taken from crowd-kit, which needs transformers to be installed; a benchmark holds the two
side by side (tests/benchmarks/annotation/bench_dawid_skene.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]

DIAGONAL, ELSEWHERE = 1.0, 0.1
"""Pseudo-counts of a confusion (the row's ``ELSEWHERE`` is shared by its classes): few answers prove little."""
_TINY = 1e-10


@dataclass(frozen=True)
class Fit:
    """``posteriors`` ``[n_items, k]``, ``priors`` ``[k]``, ``confusions`` ``[n_annotators, k, k]`` (true class, answer)."""

    posteriors: Array
    priors: Array
    confusions: Array
    iterations: int


@dataclass(frozen=True)
class Reliability:
    """What a fit says of annotators, by name, for judging answers that come later."""

    classes: tuple[str, ...]
    priors: Array
    confusions: Mapping[str, Array]

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Reliability:
        """From what :meth:`stored` gave."""
        confusions = {name: np.asarray(rows, dtype=np.float64) for name, rows in stored["confusions"].items()}
        return cls(tuple(stored["classes"]), np.asarray(stored["priors"], dtype=np.float64), confusions)

    def stored(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "priors": [round(float(value), 6) for value in self.priors],
            "confusions": {name: np.round(rows, 6).tolist() for name, rows in self.confusions.items()},
        }

    def posterior(self, answers: Sequence[tuple[str, str]]) -> Array:
        """Probabilities ``[k]`` of one item's classes, given ``(annotator, label)`` of each answer: the model's E-step.

        Of an annotator whom the fit did not know, the mean of those whom it knew is supposed.

        Raises:
            KeyError: a label is none of the classes.
        """
        number = {name: index for index, name in enumerate(self.classes)}
        unknown = np.mean(list(self.confusions.values()), axis=0)
        likely = np.log(self.priors + _TINY)
        for annotator, label in answers:
            likely = likely + np.log(self.confusions.get(annotator, unknown)[:, number[label]] + _TINY)
        found: Array = _softmax(likely[None])[0]
        return found


def fit(
    items: Indices,
    annotators: Indices,
    labels: Indices,
    n_classes: int,
    *,
    known: Mapping[int, int] | None = None,
    pseudo_counts: Array | float | None = None,
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> Fit:
    """Fit the model by EM, from the majority's labels on.

    Args:
        items, annotators, labels: one answer each, as indices from 0; every item and annotator has one at least.
        known: the true class of some items, such as gold questions; they stay as they are.
        pseudo_counts: added to each annotator's counts ``[k, k]``; None: see ``DIAGONAL``.
        tolerance: it ends when no item's probabilities move by more.

    Raises:
        ValueError: the arrays' lengths differ, or there is no answer.
    """
    if not len(items) == len(annotators) == len(labels) or len(items) == 0:
        raise ValueError("every answer needs an item, an annotator and a label")
    n_items, n_annotators = int(items.max()) + 1, int(annotators.max()) + 1
    if pseudo_counts is None:
        pseudo_counts = DIAGONAL * np.eye(n_classes) + ELSEWHERE / n_classes
    votes = np.zeros((n_items, n_classes))
    np.add.at(votes, (items, labels), 1.0)
    posteriors = _fixed(votes / votes.sum(axis=1, keepdims=True), known)
    for done in range(1, iterations + 1):  # noqa: B007 - it is how many there were
        priors = posteriors.mean(axis=0)
        counts = np.zeros((n_annotators, n_classes, n_classes))
        np.add.at(counts.transpose(0, 2, 1), (annotators, labels), posteriors[items])
        counts += pseudo_counts
        confusions = counts / np.maximum(counts.sum(axis=2, keepdims=True), _TINY)
        likely = np.tile(np.log(priors + _TINY), (n_items, 1))
        np.add.at(likely, items, np.log(confusions + _TINY)[annotators, :, labels])
        before, posteriors = posteriors, _fixed(_softmax(likely), known)
        if np.abs(posteriors - before).max() < tolerance:
            break
    return Fit(posteriors, priors, confusions, done)


def _fixed(posteriors: Array, known: Mapping[int, int] | None) -> Array:
    for item, label in (known or {}).items():
        posteriors[item] = 0.0
        posteriors[item, label] = 1.0
    return posteriors


def _softmax(likely: Array) -> Array:
    raised = np.exp(likely - likely.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
