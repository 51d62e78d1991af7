"""Query strategies: which of the predicted samples are worth asking a person about.

A strategy is a function ``(probabilities, features, size, random) -> indices``:

- ``probabilities``: float ``[n, k]``, each row a distribution over the classes
- ``features``: float ``[n, d]``; only strategies that need them look
- ``size``: how many to choose; all are chosen when there are no more than that
- ``random``: the only source of chance, so that a seed decides everything
- the answer: distinct indices, ``[min(size, n)]``, the most wanted first
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnloop.errors import InvalidInput

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]
Strategy = Callable[[Floats, Floats | None, int, np.random.Generator], Indices]

STRATEGIES: dict[str, Strategy] = {}

NEED_FEATURES = frozenset({"diverse_mini_batch"})
"""Strategies that look at features: at those of ``candidates`` only."""

# Zhdanov 2019 narrows the pool to beta * B candidates before clustering; 5 was best of {2, 5, 10} on digits, 50 seeds.
DIVERSITY = 5


def strategy(function: Strategy) -> Strategy:
    """Register a strategy under its function's name."""
    STRATEGIES[function.__name__] = function
    return function


def choose(
    name: str, probabilities: Floats, features: Floats | None, size: int, random: np.random.Generator
) -> Indices:
    """Choose ``size`` samples by the strategy called ``name``.

    Raises:
        InvalidInput: no such strategy, shapes that do not fit, or values that are not finite.
    """
    if name not in STRATEGIES:
        raise InvalidInput(f"there is no query strategy {name!r}; there are: {', '.join(sorted(STRATEGIES))}")
    if probabilities.ndim != 2 or probabilities.shape[1] == 0 or not np.isfinite(probabilities).all():
        raise InvalidInput(
            f"probabilities must be finite numbers [samples, classes]; their shape is {probabilities.shape}"
        )
    if features is not None and (len(features) != len(probabilities) or not np.isfinite(features).all()):
        raise InvalidInput(f"features must be finite, one row for each of {len(probabilities)} samples")
    if size < 0:
        raise InvalidInput(f"cannot choose {size} samples")
    if size == 0 or len(probabilities) == 0:
        return np.zeros(0, dtype=np.intp)
    return STRATEGIES[name](probabilities, features, min(size, len(probabilities)), random)


def confidence(probabilities: Floats) -> Floats:
    """The largest probability of each row."""
    return np.asarray(probabilities.max(axis=1))


def margin(probabilities: Floats) -> Floats:
    """The largest probability of each row less the second largest; 1 where there is one class."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])


def entropy(probabilities: Floats) -> Floats:
    """Shannon entropy of each row, in nats."""
    positive = np.clip(probabilities, np.finfo(np.float32).tiny, 1.0)
    return np.asarray(-(probabilities * np.log(positive)).sum(axis=1))


@strategy
def random(probabilities: Floats, features: Floats | None, size: int, random: np.random.Generator) -> Indices:
    """Any: what the others are measured against."""
    return random.choice(len(probabilities), size, replace=False)


@strategy
def least_confidence(probabilities: Floats, features: Floats | None, size: int, random: np.random.Generator) -> Indices:
    """Those whose likeliest class is least likely."""
    return _smallest(confidence(probabilities), size, random)


@strategy
def margin_sampling(probabilities: Floats, features: Floats | None, size: int, random: np.random.Generator) -> Indices:
    """Those whose two likeliest classes are closest (Scheffer, Decomain, Wrobel 2001)."""
    return _smallest(margin(probabilities), size, random)


@strategy
def entropy_sampling(probabilities: Floats, features: Floats | None, size: int, random: np.random.Generator) -> Indices:
    """Those with the highest entropy."""
    return _smallest(-entropy(probabilities), size, random)


@strategy
def diverse_mini_batch(
    probabilities: Floats, features: Floats | None, size: int, random: np.random.Generator
) -> Indices:
    """Uncertain and unlike each other (Zhdanov 2019, "Diverse mini-batch active learning").

    Of the ``5 x size`` samples with the smallest margins, k-means weighted by ``1 - margin`` makes ``size`` clusters;
    the sample nearest to each centre is chosen.
    """
    nearest = candidates(probabilities, size, random)
    if features is None or len(nearest) <= size:
        return nearest[:size]
    margins = margin(probabilities[nearest])
    weights = np.maximum(1.0 - margins, 1e-6)
    chosen = _central(features[nearest], size, random, weights)
    return np.asarray(nearest[chosen[np.argsort(margins[chosen], kind="stable")]])


def candidates(probabilities: Floats, size: int, random: np.random.Generator) -> Indices:
    """The ``5 x size`` samples with the smallest margins, ascending: no other's features matter."""
    return _smallest(margin(probabilities), min(DIVERSITY * size, len(probabilities)), random)


def first_pool(features: Floats, size: int, random: np.random.Generator) -> Indices:
    """The first samples to label, before there is a model: the nearest to each of ``size`` k-means centres."""
    if size < 0 or features.ndim != 2 or not np.isfinite(features).all():
        raise InvalidInput(
            f"cannot choose {size} samples by features of shape {features.shape}: finite [n, d] is needed"
        )
    if size >= len(features):
        return np.arange(len(features))
    if size == 0:
        return np.zeros(0, dtype=np.intp)
    return np.sort(_central(features, size, random, None))


def _smallest(values: Floats, size: int, random: np.random.Generator) -> Indices:
    """Indices of the ``size`` smallest values, ascending; ties are broken by chance, not by position."""
    order = random.permutation(len(values))
    shuffled = values[order]
    part = np.argpartition(shuffled, size - 1)[:size] if size < len(values) else np.arange(len(values))
    return np.asarray(order[part[np.argsort(shuffled[part], kind="stable")]])


def _central(features: Floats, size: int, random: np.random.Generator, weights: Floats | None) -> Indices:
    """The distinct samples nearest to the centres of ``size`` k-means clusters, each centre in turn."""
    from sklearn.cluster import KMeans

    means = KMeans(size, n_init=1, random_state=int(random.integers(2**31)))
    distances = means.fit(np.asarray(features, dtype=np.float64), sample_weight=weights).transform(features)
    chosen: list[int] = []
    free = np.ones(len(features), dtype=bool)
    for cluster in range(size):
        nearest = int(np.argmin(np.where(free, distances[:, cluster], np.inf)))
        chosen.append(nearest)
        free[nearest] = False
    return np.asarray(chosen, dtype=np.intp)
