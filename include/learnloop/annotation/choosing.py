"""Which predictions of a batch become questions: a share at random, and the rest by a query strategy."""

from __future__ import annotations

import numpy as np

from learnloop.annotation import strategies
from learnloop.annotation.shards import Shards

RANDOM = "random"


def pick(
    shards: Shards,
    free: strategies.Indices,
    method: strategies.Strategy,
    budget: int,
    random_share: float,
    random: np.random.Generator,
    known: strategies.Floats | None,
) -> list[tuple[str, int]]:
    """Rows of the shards to ask about, chosen among ``free`` ones, each with the strategy that chose it.

    The random ones are drawn first, from all, and then stand anywhere among the others: whoever answers only the first
    half has answered half of them.

    Args:
        known: features ``[l, d]`` of samples that have a label; what is not ``free`` here is known besides.
    """
    size = min(budget, len(free))
    any_ = random.choice(free, _share_of(size, random_share, random), replace=False)
    rest = free[~np.isin(free, any_)] if len(any_) else free
    wanted = size - len(any_)
    chosen = rest[:0]
    if wanted:
        scores = shards.scores[rest]
        short = method.order(scores, min(method.candidates(wanted), len(rest)), random)
        features = None
        if method.pick is not None and (len(short) > wanted or method.needs_known):
            features = shards.features(rest[short])
            known = _all_known(shards, free, known) if method.needs_known else None
        chosen = rest[strategies.narrow(method, short, scores, features, wanted, random, known=known)]
    of_share = np.zeros(size, dtype=bool)
    of_share[random.choice(size, len(any_), replace=False)] = True
    sources = {True: iter(any_.tolist()), False: iter(chosen.tolist())}
    return [(RANDOM if mixed else method.name, next(sources[mixed])) for mixed in of_share.tolist()]


def _share_of(size: int, share: float, random: np.random.Generator) -> int:
    """``share`` of ``size`` as a whole number; what is over makes one more as often as it should."""
    whole, over = divmod(size * share, 1)
    return int(whole) + int(random.random() < over)


def _all_known(shards: Shards, free: strategies.Indices, known: strategies.Floats | None) -> strategies.Floats | None:
    """Features of what has a label, and of what is asked about in this very batch."""
    asked = np.flatnonzero(~np.isin(np.arange(len(shards)), free))
    if not len(asked):
        return known
    here = shards.features(asked)
    return here if known is None or not len(known) else np.concatenate([known, here])
