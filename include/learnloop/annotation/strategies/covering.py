"""Strategies that cover the data, whatever the model says."""

from __future__ import annotations

import numpy as np

from learnloop.annotation.strategies.contract import Floats, Indices, Random, Shortlist, picking
from learnloop.annotation.strategies.diverse import first_pool

FEWEST_CANDIDATES = 10_000
CANDIDATES = 20
"""Both look at each candidate once a chosen one: of a million, a random 20 a chosen one are candidates."""
BLOCK = 256


def _any(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    return random.random(len(probabilities))


@picking(score=_any, candidates=lambda size: max(FEWEST_CANDIDATES, CANDIDATES * size), needs_known=True)
def k_center(shortlist: Shortlist, size: int, random: Random) -> Indices:
    """Time after time the sample farthest from all that are known or chosen (Sener and Savarese 2018, greedy core-set).

    When nothing is known, the first is any.
    """
    # Around their mean, so that what is lost in |a|^2 - 2ab + |b|^2 is small beside the distances.
    middle = shortlist.features.mean(axis=0)
    features, known = shortlist.features - middle, shortlist.known - middle
    squares = np.einsum("nd,nd->n", features, features)
    nearest = np.full(len(features), np.inf)
    for start in range(0, len(known), BLOCK):
        block = known[start : start + BLOCK]
        apart = squares[:, None] - 2 * features @ block.T + np.einsum("ld,ld->l", block, block)
        np.minimum(nearest, apart.min(axis=1), out=nearest)
    nearest = np.maximum(nearest, 0)
    chosen = np.empty(size, dtype=np.intp)
    for place in range(size):
        farthest = int(nearest.argmax())
        chosen[place] = farthest
        apart = squares - 2 * (features @ features[farthest]) + squares[farthest]
        np.minimum(nearest, np.maximum(apart, 0), out=nearest)
        nearest[chosen[: place + 1]] = -1  # never again, also where all distances are 0
    return chosen


@picking(score=_any, candidates=lambda size: max(FEWEST_CANDIDATES, CANDIDATES * size))
def k_means(shortlist: Shortlist, size: int, random: Random) -> Indices:
    """The sample nearest to each of ``size`` k-means centres: what stands for groups of samples that are alike.

    Chooses the first samples of a dataset that has no model. In any order, so that who answers half of them has not left
    out a part of the data.
    """
    chosen = first_pool(shortlist.features, size, random)
    return np.asarray(chosen[np.argsort(shortlist.scores[chosen])])
