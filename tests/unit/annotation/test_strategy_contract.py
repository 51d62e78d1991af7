"""Contract checks that every query strategy passes by being registered."""

from __future__ import annotations

import numpy as np
import pytest

from learnloop.annotation.strategies import STRATEGIES, Strategy, choose
from learnloop.errors import InvalidInput

NAMES = sorted(STRATEGIES)
MEMBERS = 3

pytestmark = pytest.mark.parametrize("name", NAMES)


class Pool:
    """Predictions, those of a committee, features of them and of known samples."""

    def __init__(self, n: int = 200, k: int = 4, d: int = 6, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.probabilities = random.dirichlet(np.ones(k), n)
        self.features: np.ndarray | None = random.normal(size=(n, d))
        self.committee: np.ndarray | None = random.dirichlet(np.ones(k), (n, MEMBERS))
        self.known: np.ndarray | None = random.normal(size=(5, d))

    def arrays(self) -> list[np.ndarray]:
        return [array for array in vars(self).values() if array is not None]

    def map(self, change) -> Pool:
        for field, array in vars(self).items():
            if array is not None:
                setattr(self, field, change(array))
        return self

    def take(self, rows: np.ndarray) -> Pool:
        self.probabilities = self.probabilities[rows]
        self.features = None if self.features is None else self.features[rows]
        self.committee = None if self.committee is None else self.committee[rows]
        return self

    def choose(self, name: str, size: int, seed: int = 1) -> list[int]:
        chosen = choose(
            name,
            self.probabilities,
            self.features,
            size,
            np.random.default_rng(seed),
            committee=self.committee,
            known=self.known,
        )
        assert chosen.dtype == np.intp
        return chosen.tolist()


def test_chooses_as_many_distinct_samples_as_asked(name: str) -> None:
    chosen = Pool().choose(name, 17)
    assert len(set(chosen)) == len(chosen) == 17
    assert set(chosen) <= set(range(200))


@pytest.mark.parametrize("size", [1, 199, 200, 1000])
def test_size_may_be_anything(name: str, size: int) -> None:
    chosen = Pool().choose(name, size)
    assert len(set(chosen)) == len(chosen) == min(size, 200)


def test_one_sample_is_chosen_and_none_is_no_error(name: str) -> None:
    assert Pool(n=1).choose(name, 3) == [0]
    assert Pool().choose(name, 0) == []
    empty = Pool().take(np.zeros(0, dtype=int))
    assert empty.choose(name, 5) == []
    with pytest.raises(InvalidInput, match="cannot choose -1"):
        Pool().choose(name, -1)


def test_a_seed_decides_everything(name: str) -> None:
    assert Pool().choose(name, 10, seed=3) == Pool().choose(name, 10, seed=3)


def test_does_not_change_what_it_is_given_and_takes_what_cannot_be_changed(name: str) -> None:
    pool, before = Pool(), Pool().arrays()
    for array in pool.arrays():
        array.flags.writeable = False
    pool.choose(name, 10)
    assert all((now == then).all() for now, then in zip(pool.arrays(), before, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_takes_single_and_double_precision_in_any_layout(name: str, dtype: type) -> None:
    pool = Pool().map(lambda array: array.astype(dtype))
    strided = Pool().map(lambda array: np.repeat(np.asfortranarray(array.astype(dtype)), 2, axis=0)[::2])
    assert not strided.probabilities.flags.c_contiguous
    assert pool.choose(name, 12) == strided.choose(name, 12)


def test_works_when_all_are_alike(name: str) -> None:
    pool = Pool(n=60).map(lambda array: np.repeat(array[:1], len(array), axis=0))
    assert len(set(pool.choose(name, 7))) == 7
    assert len(set(pool.choose(name, 59))) == 59


def test_works_when_each_sample_comes_twice(name: str) -> None:
    pool = Pool(n=30).take(np.tile(np.arange(30), 2))
    assert len(set(pool.choose(name, 40))) == 40


def test_works_with_one_class(name: str) -> None:
    assert len(set(Pool(n=50, k=1).choose(name, 7))) == 7


def test_works_with_certain_predictions(name: str) -> None:
    """Zeros and ones: 0 log 0 must not become a number that is none."""
    pool = Pool()
    pool.probabilities = np.eye(4)[np.arange(200) % 4]
    pool.committee = np.eye(4)[np.arange(600) % 4].reshape(200, 3, 4)
    assert len(set(pool.choose(name, 9))) == 9


def test_works_without_features_committee_and_known_samples(name: str) -> None:
    pool = Pool()
    pool.features = pool.committee = pool.known = None
    assert len(set(pool.choose(name, 9))) == 9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 150])
def test_refuses_what_is_not_a_number_and_says_where(name: str, bad: float, row: int) -> None:
    pool = Pool()
    pool.probabilities[row, 1] = bad
    with pytest.raises(InvalidInput, match=f"probabilities must be finite numbers; those of row {row} "):
        pool.choose(name, 5)
    pool = Pool()
    pool.features[row, 1] = bad
    with pytest.raises(InvalidInput, match="features must be finite"):
        pool.choose(name, 5)


def test_refuses_what_is_no_distribution(name: str) -> None:
    pool = Pool()
    pool.probabilities[7] *= 3
    with pytest.raises(InvalidInput, match="must sum to 1; those of row 7 sum to 3"):
        pool.choose(name, 5)


def test_refuses_shapes_that_do_not_fit(name: str) -> None:
    for wrong in ({"probabilities": np.ones(5)}, {"probabilities": np.ones((5, 0))}, {"features": np.ones((3, 2))}):
        pool = Pool(n=5)
        vars(pool).update(wrong)
        with pytest.raises(InvalidInput, match="shape"):
            pool.choose(name, 2)
    pool = Pool(n=5)
    pool.committee = np.ones((5, 3, 7)) / 7
    with pytest.raises(InvalidInput, match=r"\[5 samples, models, 4 classes\]"):
        pool.choose(name, 2)


def test_where_a_sample_stands_does_not_matter(name: str) -> None:
    """Among equals each is chosen as often as any other, to five standard deviations; so it is with equal features too."""
    n, size, tries = 12, 3, 600
    pool = Pool(n=n).map(lambda array: np.repeat(array[:1], len(array), axis=0))
    counts, first = np.zeros(n), np.zeros(n)
    for seed in range(tries):
        chosen = pool.choose(name, size, seed=seed)
        counts[chosen] += 1
        first[chosen[0]] += 1
    for counted, share in ((counts, size / n), (first, 1 / n)):
        assert np.abs(counted - tries * share).max() < 5 * (tries * share * (1 - share)) ** 0.5


def test_a_shuffled_pool_is_chosen_from_alike(name: str) -> None:
    """How often each sample is chosen, over many seeds, is the same for the pool and for the pool in another order."""
    n, tries = 24, 300
    mixed = np.random.default_rng(5).permutation(n)
    plain, shuffled = np.zeros(n), np.zeros(n)
    for seed in range(tries):
        plain[Pool(n=n).choose(name, 4, seed=seed)] += 1
        shuffled[mixed[Pool(n=n).take(mixed).choose(name, 4, seed=tries + seed)]] += 1
    assert np.abs(plain - shuffled).max() < 5 * (tries / 2) ** 0.5  # the difference of two counts, at its widest


def test_blocks_do_not_matter(name: str, monkeypatch) -> None:
    whole = Pool().choose(name, 20)
    monkeypatch.setattr("learnloop.annotation.strategies.contract.BLOCK_BYTES", 7 * 4 * 8)
    assert Pool().choose(name, 20) == whole


def test_the_most_wanted_come_first(name: str) -> None:
    """By score where the strategy ranks; else what is chosen for a smaller size comes first for a larger one too."""
    strategy: Strategy = STRATEGIES[name]
    pool = Pool()
    chosen = pool.choose(name, 20)
    if name in ("k_center", "class_balanced", "random"):
        assert chosen[:5] == pool.choose(name, 5)
        return
    scores = strategy.scores(pool.probabilities, pool.committee, np.random.default_rng(1))
    assert (np.diff(scores[chosen]) >= 0).all()
    if strategy.pick is None:
        assert sorted(chosen) == sorted(np.argsort(scores)[:20].tolist())
