"""Our coefficients against published numbers and other people's code."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest

from learnloop.annotation.quality import agreement

# Fleiss' kappa's textbook table: 10 subjects, 14 raters, 5 categories; kappa is 0.210.
TEXTBOOK = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)


MISSING = -1


def counts_of(ratings: np.ndarray, classes: int) -> np.ndarray:
    """``ratings`` is ``[items, people]`` of classes, MISSING where somebody did not answer."""
    return np.stack([(ratings == number).sum(axis=1) for number in range(classes)], axis=1)


def ratings(random: np.random.Generator, items: int, people: int, classes: int, right: float, missing: float):
    truth = random.integers(classes, size=items)
    given = np.where(
        random.random((items, people)) < right, truth[:, None], random.integers(classes, size=(items, people))
    )
    return np.where(random.random((items, people)) < missing, MISSING, given)


def test_fleiss_kappa_of_the_textbook() -> None:
    assert agreement.fleiss(TEXTBOOK) == pytest.approx(0.210, abs=0.0005)


@pytest.mark.parametrize("missing", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("right", [0.0, 0.5, 0.9])
def test_krippendorffs_alpha_is_the_librarys(right: float, missing: float) -> None:
    random = np.random.default_rng(round(100 * right + 10 * missing))
    table = ratings(random, items=60, people=5, classes=4, right=right, missing=missing)
    theirs = krippendorff.alpha(
        reliability_data=np.where(table == MISSING, np.nan, table).T, level_of_measurement="nominal"
    )
    assert agreement.krippendorff(counts_of(table, 4)) == pytest.approx(theirs, abs=1e-12)


def test_alpha_and_fleiss_kappa_differ_by_the_sample_only() -> None:
    """On complete data 1 - alpha = (1 - kappa) (nN - 1) / nN: the one's chance is drawn without putting back."""
    table = ratings(np.random.default_rng(3), items=50, people=4, classes=3, right=0.6, missing=0)
    counts = counts_of(table, 3)
    kappa, alpha = agreement.fleiss(counts), agreement.krippendorff(counts)
    assert 1 - alpha == pytest.approx((1 - kappa) * 199 / 200)


def test_cohens_kappa_of_two() -> None:
    first = [0] * 25 + [1] * 25
    second = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15  # agree on 35 of 50; by chance on half
    assert agreement.cohen(first, second, 2) == pytest.approx(0.4)


def test_what_is_not_defined_is_none() -> None:
    assert agreement.cohen([], [], 2) is None
    assert agreement.cohen([1, 1], [1, 1], 2) is None
    assert agreement.fleiss(np.zeros((0, 3), dtype=int)) is None
    assert agreement.fleiss(np.array([[2, 0], [2, 0]])) is None
    assert agreement.krippendorff(np.array([[1, 0], [0, 1]])) is None  # one answer each: nobody to agree with
    assert agreement.krippendorff(np.array([[2, 0], [3, 0]])) is None
    with pytest.raises(ValueError, match="same number of answers"):
        agreement.fleiss(np.array([[2, 0], [3, 0]]))
