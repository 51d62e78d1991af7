"""How far people agree beyond chance. 1 is perfect agreement, 0 what chance would give, below 0 is worse than chance.

Nominal labels throughout. ``counts`` is ``[n_items, n_classes]``: how many people gave each item each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def cohen(first: Sequence[int], second: Sequence[int], n_classes: int) -> float | None:
    """Cohen's kappa of two people over the items that both answered (Cohen 1960); None when it is not defined.

    It is not when they share no item, or when both gave all items one and the same class.
    """
    from sklearn.metrics import cohen_kappa_score

    if len(first) == 0:
        return None
    if len({*first, *second}) < 2:
        return None  # scikit-learn would divide by zero
    return float(cohen_kappa_score(first, second, labels=range(n_classes)))


def fleiss(counts: np.ndarray[Any, Any]) -> float | None:
    """Fleiss' kappa of ``counts`` whose rows have one sum of at least 2 (Fleiss 1971).

    None when it is not defined: there is no item, or all answers are of one class.

    Raises:
        ValueError: the rows' sums differ.
    """
    if len(counts) == 0:
        return None
    answers = int(counts[0].sum())
    if answers < 2 or (counts.sum(axis=1) != answers).any():
        raise ValueError("Fleiss' kappa needs the same number of answers, at least 2, for every item")
    agreed = ((counts * (counts - 1)).sum(axis=1) / (answers * (answers - 1))).mean()
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return None if chance == 1 else float((agreed - chance) / (1 - chance))


def krippendorff(counts: np.ndarray[Any, Any]) -> float | None:
    """Krippendorff's alpha of ``counts``, rows of any sum (Krippendorff 2011, nominal metric).

    Items with fewer than two answers say nothing and are left out. None when it is not defined: nothing is left, or all
    answers are of one class.
    """
    counts = counts[counts.sum(axis=1) >= 2]
    if len(counts) == 0:
        return None
    answers = counts.sum(axis=1)
    total, by_class = answers.sum(), counts.sum(axis=0)
    differing = ((answers**2 - (counts**2).sum(axis=1)) / (answers - 1)).sum() / total
    chance = (total**2 - (by_class**2).sum()) / (total * (total - 1))
    return None if chance == 0 else float(1 - differing / chance)
