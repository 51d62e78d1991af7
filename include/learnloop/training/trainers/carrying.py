"""What a parent knew of its classes, carried to a model that has them in other places, or more of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def columns_of(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    """Place in ``old`` -> place in ``new`` of the classes that both have; nothing when the new lack one of the old."""
    places = {str(name): place for place, name in enumerate(new)}
    if not {str(name) for name in old} <= places.keys():
        return {}
    return {place: places[str(name)] for place, name in enumerate(old)}


def carried(fresh: Floats, learned: Floats, places: dict[int, int], share: float) -> Floats:
    """``fresh`` with the columns (last axis) of known classes moved by ``share`` towards what was learned of them.

    A model of two classes has one column, the log odds of the second; for softmax that is a column of zeros and it.
    """
    if learned.shape[-1] == fresh.shape[-1] == 1:  # two classes before and after, in one order: names are sorted
        return np.asarray((1 - share) * fresh + share * learned, dtype=fresh.dtype)
    if learned.shape[-1] == 1:
        learned = np.concatenate([np.zeros_like(learned), learned], axis=-1)
    result = fresh.copy()
    for before, now in places.items():
        result[..., now] = (1 - share) * fresh[..., now] + share * learned[..., before]
    return result
