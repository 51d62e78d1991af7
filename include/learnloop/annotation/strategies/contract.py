"""What a query strategy is: three small steps, so that a million predictions need not be in memory at once.

1. ``score`` looks at the predictions, block after block, and keeps one number a sample (smaller is more wanted).
2. ``order`` makes the shortlist: the most wanted by score, ties broken by chance and not by position.
3. ``pick``, of a strategy that has one, chooses among the shortlist by its features; no other's features are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnloop.errors import InvalidInput

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]
Random = np.random.Generator

Score = Callable[[Floats, Floats, Random], Floats]
"""``(probabilities [n, k], committee [n, m, k], random) -> [n]``, or ``[n, c]`` for an ``order`` that needs more."""
Order = Callable[[Floats, int, Random], Indices]
"""``(what score gave, size, random) -> rows [min(size, n)]``, the most wanted first."""

BLOCK_BYTES = 1 << 19
"""How much of the predictions is looked at together: what fits into a processor's cache is read from memory once."""
SUM_TOLERANCE = 0.01
"""By how much a row of probabilities may miss 1: a model that computes in half precision misses by 0.001."""


@dataclass(frozen=True)
class Shortlist:
    """What ``pick`` chooses from, in an order that means nothing.

    ``scores`` float ``[c]`` or ``[c, ...]`` as ``score`` gave them; ``features`` float64 ``[c, d]``; ``known`` float64
    ``[l, d]``, features of samples that have a label or are being asked about already, perhaps none.
    """

    scores: Floats
    features: Floats
    known: Floats


Pick = Callable[[Shortlist, int, Random], Indices]
"""``(shortlist, size, random) -> rows of the shortlist [size]``, the most wanted first."""


def smallest(scores: Floats, size: int, random: Random) -> Indices:
    """Rows of the ``size`` smallest scores, ascending; ties are broken by chance, not by position."""
    if size < len(scores):
        last = np.partition(scores, size - 1)[size - 1]
        sure = np.flatnonzero(scores < last)
        rows = np.concatenate([sure, random.choice(np.flatnonzero(scores == last), size - len(sure), replace=False)])
    else:
        rows = np.arange(len(scores))
    rows = random.permutation(rows)
    return np.asarray(rows[np.argsort(scores[rows], kind="stable")], dtype=np.intp)


@dataclass(frozen=True)
class Strategy:
    """A registered query strategy. ``candidates(size)`` is how long a shortlist ``pick`` wants for ``size``."""

    name: str
    score: Score
    order: Order = smallest
    pick: Pick | None = None
    candidates: Callable[[int], int] = field(default=lambda size: size)
    needs_committee: bool = False
    needs_known: bool = False

    def scores(self, probabilities: Floats, committee: Floats | None, random: Random) -> Floats:
        """The score of each row, looked at block by block.

        Args:
            probabilities: ``[n, k]``, each row a distribution over the classes.
            committee: ``[n, m, k]``, the predictions of ``m`` models; without one, ``probabilities`` are the committee.

        Raises:
            InvalidInput: not such shapes, not finite, or not distributions.
        """
        if probabilities.ndim != 2 or probabilities.shape[1] == 0:
            raise InvalidInput(f"probabilities must be [samples, classes]; their shape is {probabilities.shape}")
        n, k = probabilities.shape
        if committee is not None and (committee.ndim != 3 or committee.shape[::2] != (n, k) or not committee.shape[1]):
            raise InvalidInput(
                f"a committee's predictions must be [{n} samples, models, {k} classes]; their shape is {committee.shape}"
            )
        rows = max(1, BLOCK_BYTES // (k * probabilities.itemsize))
        parts: list[Floats] = [np.zeros(0)] if n == 0 else []
        for start in range(0, n, rows):
            block = probabilities[start : start + rows]
            _check(block, "probabilities", start)
            votes = block[:, None]
            if committee is not None and self.needs_committee:
                votes = committee[start : start + rows]
                _check(votes, "a committee's predictions", start)
            parts.append(self.score(block, votes, random))
        return np.concatenate(parts)


STRATEGIES: dict[str, Strategy] = {}


def register(strategy: Strategy) -> None:
    """Make a strategy known by its name to datasets and to the contract tests."""
    STRATEGIES[strategy.name] = strategy


def ranked(*, order: Order = smallest, needs_committee: bool = False) -> Callable[[Score], Score]:
    """Register a score as the strategy of its name: the samples with the smallest are chosen."""

    def add(score: Score) -> Score:
        register(Strategy(score.__name__, score, order, needs_committee=needs_committee))
        return score

    return add


def picking(*, score: Score, candidates: Callable[[int], int], needs_known: bool = False) -> Callable[[Pick], Pick]:
    """Register a pick as the strategy of its name, choosing among the ``candidates(size)`` smallest by ``score``."""

    def add(pick: Pick) -> Pick:
        register(Strategy(pick.__name__, score, pick=pick, candidates=candidates, needs_known=needs_known))
        return pick

    return add


def find(name: str) -> Strategy:
    """The strategy called ``name``.

    Raises:
        InvalidInput: there is none; the message lists those there are.
    """
    if name not in STRATEGIES:
        raise InvalidInput(f"there is no query strategy {name!r}; there are: {', '.join(sorted(STRATEGIES))}")
    return STRATEGIES[name]


def choose(
    name: str,
    probabilities: Floats,
    features: Floats | None,
    size: int,
    random: Random,
    *,
    committee: Floats | None = None,
    known: Floats | None = None,
) -> Indices:
    """Choose ``size`` samples by the strategy called ``name``, of predictions that are in memory.

    Args:
        probabilities: float ``[n, k]``, each row a distribution over the classes.
        features: float ``[n, d]``; without them a strategy that picks by features takes the smallest scores.
        size: how many to choose; all are chosen when there are no more than that.
        random: the only source of chance, so that a seed decides everything.
        committee: float ``[n, m, k]``, the predictions of ``m`` models; without one, ``probabilities`` are the committee.
        known: float ``[l, d]``, features of samples with a label, for strategies that keep away from them.

    Returns:
        Distinct rows ``[min(size, n)]``, the most wanted first.

    Raises:
        InvalidInput: no such strategy, shapes that do not fit, values that are not finite or no distributions.
    """
    strategy = find(name)
    if size < 0:
        raise InvalidInput(f"cannot choose {size} samples")
    if features is not None and (features.ndim != 2 or len(features) != len(probabilities)):
        raise InvalidInput(f"features must be [{len(probabilities)} samples, numbers]; their shape is {features.shape}")
    if features is not None and not np.isfinite(features).all():
        raise InvalidInput("features must be finite numbers")
    scores = strategy.scores(probabilities, committee, random)
    if size == 0 or len(scores) == 0:
        return np.zeros(0, dtype=np.intp)
    rows = strategy.order(scores, min(strategy.candidates(size), len(scores)), random)
    return narrow(strategy, rows, scores, None if features is None else features[rows], size, random, known=known)


def narrow(
    strategy: Strategy,
    rows: Indices,
    scores: Floats,
    features: Floats | None,
    size: int,
    random: Random,
    *,
    known: Floats | None = None,
) -> Indices:
    """The last step: of the shortlist ``rows`` (of ``scores``), with their ``features``, the ``size`` to choose.

    Raises:
        InvalidInput: ``known`` has not as many numbers a row as ``features``, or one that is not finite.
    """
    if strategy.pick is None or features is None or (len(rows) <= size and not strategy.needs_known):
        return rows[:size]
    known = np.zeros((0, features.shape[1])) if known is None else check_known(known, features.shape[1])
    # Shuffled, so that what sits where cannot matter: not even to the first centre or a tie of distances.
    order = random.permutation(len(rows))
    shortlist = Shortlist(scores[rows[order]], features[order].astype(np.float64), known.astype(np.float64))
    return np.asarray(rows[order[strategy.pick(shortlist, min(size, len(rows)), random)]])


def check_known(known: Floats, width: int) -> Floats:
    """``known`` itself.

    Raises:
        InvalidInput: it has not ``width`` numbers a row, or one that is not finite.
    """
    if known.ndim != 2 or known.shape[1] != width or not np.isfinite(known).all():
        raise InvalidInput(f"known features must be finite, [samples, {width}]; their shape is {known.shape}")
    return known


def _check(block: Floats, what: str, start: int) -> None:
    # One pass finds it all: a sum is not finite if any of its numbers is not.
    sums = block @ np.ones(block.shape[-1], dtype=block.dtype)
    right = np.abs(sums - 1) <= SUM_TOLERANCE
    if right.all():
        return
    row = start + int(np.argwhere(~right)[0][0])
    total = sums[~right][0]
    if not np.isfinite(total):
        raise InvalidInput(f"{what} must be finite numbers; those of row {row} are not")
    raise InvalidInput(f"{what} of a sample must sum to 1; those of row {row} sum to {total:.4g}")
