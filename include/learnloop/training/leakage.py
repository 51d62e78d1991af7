"""Training samples that are, or nearly are, samples of the test split: a test they are trained on measures nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnloop.training.data import Data, Rows
from learnloop.training.trainers import SCALES
from learnloop.training.trainers.base import fit_scaler

BITS, BANDS = 64, 8
NEAR = {"text_classification": 0.3}
OTHERWISE_NEAR = 0.1
"""Root mean square difference over features that have a root mean square of 1: pairs of strangers differ by about 1.4.

0.1 is noise of 2 % of the range on scanned digits; 0.3 is about one word in twenty of a text.
"""


@dataclass(frozen=True)
class Pair:
    """A training sample and the test sample it repeats; ``distance`` is 0 when they are equal."""

    training: str
    test: str
    distance: float


def near_duplicates(dataset: Data) -> list[Pair]:
    """Training samples (each once) that are near a test sample, in the order of their ids.

    Candidates are found by a hash of features: the signs of 64 random projections, in 8 bands of 8 bits (Charikar, STOC
    2002). Two rows that near share a whole band but for one pair in thousands, so the cost grows with the number of
    samples and not of pairs. Candidates are then compared themselves, so nothing is called a duplicate by its hash.
    """
    if dataset.train.all() or not dataset.train.any():
        return []
    scaler = fit_scaler(dataset.X, SCALES.get(dataset.task_type, "shared"))
    near = NEAR.get(dataset.task_type, OTHERWISE_NEAR)
    rows = scaler.transform(dataset.X).astype(np.float32)
    bands = _bands(rows)
    train, test = np.flatnonzero(dataset.train), np.flatnonzero(~dataset.train)
    nearest: dict[int, tuple[float, int]] = {}
    for band in range(BANDS):
        tested: dict[int, list[int]] = defaultdict(list)
        for row in test:
            tested[int(bands[row, band])].append(int(row))
        asked: dict[int, list[int]] = defaultdict(list)
        for row in train:
            if int(bands[row, band]) in tested:
                asked[int(bands[row, band])].append(int(row))
        for key, members in asked.items():
            _compare(rows, members, tested[key], near, nearest)
    return [
        Pair(dataset.sample_ids[row], dataset.sample_ids[other], round(distance, 4))
        for row, (distance, other) in sorted(nearest.items())
    ]


def without_near_test(dataset: Data) -> tuple[Data, list[Pair], list[Pair]]:
    """The dataset less its training samples that nearly are test samples; all of those, and those left out.

    Rows of a table are not left out: they are often alike for no other reason than that there are few values.
    """
    found = near_duplicates(dataset)
    left_out = [] if dataset.task_type == "tabular_classification" else found
    return dataset.without([pair.training for pair in left_out]), found, left_out


def _compare(
    rows: Rows, members: list[int], tested: list[int], near: float, nearest: dict[int, tuple[float, int]]
) -> None:
    others = rows[tested]
    for row in members:
        distances = np.sqrt(np.mean(np.square(others - rows[row]), axis=1))
        best = int(np.argmin(distances))
        if distances[best] <= near and distances[best] < nearest.get(row, (np.inf, 0))[0]:
            nearest[row] = (float(distances[best]), tested[best])


def _bands(rows: Rows) -> NDArray[np.int64]:
    """A number for each row and band: the signs of random projections, the same for each call."""
    directions = np.random.default_rng(0).normal(size=(rows.shape[1], BITS)).astype(np.float32)
    signs = (rows @ directions > 0).reshape(len(rows), BANDS, BITS // BANDS)
    return np.asarray(signs @ (1 << np.arange(BITS // BANDS)), dtype=np.int64)
