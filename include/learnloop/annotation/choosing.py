"""Which predictions of a batch become questions: a share at random, and the rest by a query strategy."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from learnloop.annotation import strategies

RANDOM = "random"


class Scored(Protocol):
    """Samples with their scores ``[n]`` or ``[n, c]`` by the strategy: :class:`learnloop.annotation.shards.Shards`."""

    scores: strategies.Floats

    def features(self, rows: strategies.Indices, /) -> strategies.Floats: ...


def pick(
    samples: Scored,
    free: strategies.Indices,
    method: strategies.Strategy,
    budget: int,
    random_share: float,
    random: np.random.Generator,
    known: strategies.Floats | None,
) -> list[tuple[str, int]]:
    """Rows of the samples to ask about, chosen among ``free`` ones, each with the strategy that chose it.

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
        scores = samples.scores[rest]
        short = method.order(scores, min(method.candidates(wanted), len(rest)), random)
        features = None
        if method.pick is not None and (len(short) > wanted or method.needs_known):
            features = samples.features(rest[short])
            known = _all_known(samples, free, known) if method.needs_known else None
        chosen = rest[strategies.narrow(method, short, scores, features, wanted, random, known=known)]
    of_share = np.zeros(size, dtype=bool)
    of_share[random.choice(size, len(any_), replace=False)] = True
    sources = {True: iter(any_.tolist()), False: iter(chosen.tolist())}
    return [(RANDOM if mixed else method.name, next(sources[mixed])) for mixed in of_share.tolist()]


def _share_of(size: int, share: float, random: np.random.Generator) -> int:
    """``share`` of ``size`` as a whole number; what is over makes one more as often as it should."""
    whole, over = divmod(size * share, 1)
    return int(whole) + int(random.random() < over)


def _all_known(samples: Scored, free: strategies.Indices, known: strategies.Floats | None) -> strategies.Floats | None:
    """Features of what has a label, and of what is asked about in this very batch."""
    asked = np.flatnonzero(~np.isin(np.arange(len(samples.scores)), free))
    if not len(asked):
        return known
    here = samples.features(asked)
    return here if known is None else np.concatenate([strategies.check_known(known, here.shape[1]), here])
