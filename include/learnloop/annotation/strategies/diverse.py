"""Strategies that choose by k-means."""

from __future__ import annotations

import warnings

import numpy as np

from learnloop.annotation.strategies import scores
from learnloop.annotation.strategies.contract import Floats, Indices, Random, Shortlist, picking
from learnloop.errors import InvalidInput

# Zhdanov 2019 narrows the pool to beta * B candidates before clustering; 5 was best of {2, 5, 10} on digits, 50 seeds.
DIVERSITY = 5


def _margins(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    return scores.margin(probabilities)


@picking(score=_margins, candidates=lambda size: DIVERSITY * size)
def diverse_mini_batch(shortlist: Shortlist, size: int, random: Random) -> Indices:
    """Uncertain and unlike each other (Zhdanov 2019, "Diverse mini-batch active learning").

    Of the ``5 x size`` samples with the smallest margins, k-means weighted by ``1 - margin`` makes ``size`` clusters;
    the sample nearest to each centre is chosen.
    """
    weights = np.maximum(1.0 - shortlist.scores, 1e-6)
    chosen = _central(shortlist.features, size, random, weights)
    return np.asarray(chosen[np.argsort(shortlist.scores[chosen], kind="stable")])


def first_pool(features: Floats, size: int, random: Random) -> Indices:
    """The first samples to label, before there is a model: the nearest to each of ``size`` k-means centres.

    Args:
        features: float ``[n, d]``.

    Returns:
        Distinct rows ``[min(size, n)]``, ascending.

    Raises:
        InvalidInput: not such a shape, not finite, or a negative size.
    """
    if size < 0 or features.ndim != 2 or not np.isfinite(features).all():
        raise InvalidInput(
            f"cannot choose {size} samples by features of shape {features.shape}: finite [n, d] is needed"
        )
    if size >= len(features):
        return np.arange(len(features))
    if size == 0:
        return np.zeros(0, dtype=np.intp)
    return np.sort(_central(features, size, random, None))


def _central(features: Floats, size: int, random: Random, weights: Floats | None) -> Indices:
    """The distinct samples nearest to the centres of ``size`` k-means clusters, each centre in turn."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    means = KMeans(size, n_init=1, random_state=int(random.integers(2**31)))
    with warnings.catch_warnings():
        # Fewer distinct samples than clusters: then some centres share a place, and copies are chosen for them.
        warnings.filterwarnings("ignore", "Number of distinct clusters", ConvergenceWarning)
        means.fit(np.asarray(features, dtype=np.float64), sample_weight=weights)
    distances = means.transform(features)
    chosen: list[int] = []
    free = np.ones(len(features), dtype=bool)
    for cluster in range(size):
        nearest = int(np.argmin(np.where(free, distances[:, cluster], np.inf)))
        chosen.append(nearest)
        free[nearest] = False
    return np.asarray(chosen, dtype=np.intp)
