"""Contract checks that every query strategy passes by being registered, and what sets some apart."""

from __future__ import annotations

import numpy as np
import pytest

from learnloop.annotation.strategies import STRATEGIES, choose, entropy, first_pool, margin
from learnloop.errors import InvalidInput

NAMES = sorted(STRATEGIES)


def predictions(n: int = 200, k: int = 4, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.ones(k), n), random.normal(size=(n, d))


@pytest.mark.parametrize("name", NAMES)
class TestContract:
    def test_chooses_as_many_distinct_samples_as_asked(self, name: str) -> None:
        chosen = choose(name, *predictions(), 17, np.random.default_rng(1))
        assert chosen.shape == (17,)
        assert len(set(chosen.tolist())) == 17
        assert set(chosen.tolist()) <= set(range(200))

    def test_a_seed_decides_everything(self, name: str) -> None:
        first, second = (choose(name, *predictions(), 10, np.random.default_rng(3)) for _ in range(2))
        assert first.tolist() == second.tolist()

    def test_asking_for_more_than_there_are_gives_all(self, name: str) -> None:
        assert sorted(choose(name, *predictions(n=5), 50, np.random.default_rng(0)).tolist()) == [0, 1, 2, 3, 4]

    def test_nothing_to_choose_from_is_no_error(self, name: str) -> None:
        assert choose(name, np.zeros((0, 3)), np.zeros((0, 2)), 5, np.random.default_rng(0)).tolist() == []

    def test_does_not_change_what_it_is_given(self, name: str) -> None:
        given = predictions()
        before = tuple(part.copy() for part in given)
        choose(name, *given, 10, np.random.default_rng(0))
        assert all((now == then).all() for now, then in zip(given, before, strict=True))

    def test_works_when_all_are_alike_and_with_one_class(self, name: str) -> None:
        random = np.random.default_rng(0)
        assert len(choose(name, np.full((50, 2), 0.5), random.normal(size=(50, 3)), 7, random)) == 7
        assert len(choose(name, np.ones((50, 1)), random.normal(size=(50, 3)), 7, random)) == 7

    def test_works_without_features(self, name: str) -> None:
        assert len(set(choose(name, predictions()[0], None, 9, np.random.default_rng(0)).tolist())) == 9

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_refuses_what_is_not_a_number(self, name: str, bad: float) -> None:
        probabilities, features = predictions()
        probabilities[3, 1] = bad
        with pytest.raises(InvalidInput, match="finite"):
            choose(name, probabilities, features, 5, np.random.default_rng(0))


def test_margin_takes_the_closest_two_classes() -> None:
    probabilities = np.asarray([[0.9, 0.1, 0.0], [0.5, 0.49, 0.01], [0.34, 0.33, 0.33], [0.6, 0.2, 0.2]])
    assert choose("margin_sampling", probabilities, None, 2, np.random.default_rng(0)).tolist() in ([1, 2], [2, 1])
    assert margin(probabilities) == pytest.approx([0.8, 0.01, 0.01, 0.4])
    assert entropy(np.asarray([[1.0, 0.0], [0.5, 0.5]])) == pytest.approx([0.0, np.log(2)])


def test_diverse_mini_batch_does_not_ask_the_same_thing_twice() -> None:
    """Of two tight groups of equally uncertain samples it asks about both; margin alone need not."""
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(0, 0.01, (50, 2)), random.normal(9, 0.01, (50, 2))])
    chosen = choose("diverse_mini_batch", np.full((100, 2), 0.5), features, 2, random)
    assert {int(index) // 50 for index in chosen} == {0, 1}


def test_the_first_pool_covers_the_data() -> None:
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(centre, 0.1, (30, 2)) for centre in (0, 10, 20)])
    assert {int(index) // 30 for index in first_pool(features, 3, random)} == {0, 1, 2}


def test_an_unknown_strategy_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="diverse_mini_batch"):
        choose("astrology", *predictions(), 5, np.random.default_rng(0))
