"""What sets the query strategies apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from learnloop.annotation.strategies import (
    Strategy,
    choose,
    consensus_divergence,
    entropy,
    first_pool,
    margin,
    narrow,
    vote_entropy,
)
from learnloop.errors import InvalidInput


def predictions(n: int = 200, k: int = 4, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.ones(k), n), random.normal(size=(n, d))


def test_margin_takes_the_closest_two_classes() -> None:
    probabilities = np.asarray([[0.9, 0.1, 0.0], [0.5, 0.49, 0.01], [0.34, 0.33, 0.33], [0.6, 0.2, 0.2]])
    assert choose("margin_sampling", probabilities, None, 2, np.random.default_rng(0)).tolist() in ([1, 2], [2, 1])
    assert margin(probabilities) == pytest.approx([0.8, 0.01, 0.01, 0.4])
    assert entropy(np.asarray([[1.0, 0.0], [0.5, 0.5]])) == pytest.approx([0.0, np.log(2)])


def test_margin_is_what_sorting_gives() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), 500).astype(np.float32)
    ordered = np.sort(probabilities, axis=1)
    assert margin(probabilities).tolist() == (ordered[:, -1] - ordered[:, -2]).tolist()


def test_least_confidence_and_entropy_differ_where_they_should() -> None:
    probabilities = np.asarray([[0.48, 0.26, 0.26], [0.5, 0.5, 0.0], [0.9, 0.05, 0.05]])
    assert choose("least_confidence", probabilities, None, 1, np.random.default_rng(0)).tolist() == [0]
    assert choose("entropy_sampling", probabilities, None, 1, np.random.default_rng(0)).tolist() == [0]
    assert choose("margin_sampling", probabilities, None, 1, np.random.default_rng(0)).tolist() == [1]


COMMITTEE = np.asarray(
    [
        [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.9, 0.1, 0.0]],  # of one mind
        [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0]],  # two against one
        [[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9]],  # each says another
        [[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.4, 0.3, 0.3]],  # unsure, and of one mind
    ]
)


def test_a_committee_is_asked_what_it_disagrees_on() -> None:
    assert vote_entropy(COMMITTEE) == pytest.approx([0, entropy(np.asarray([[2 / 3, 1 / 3]]))[0], np.log(3), 0])
    divergence = [
        np.mean([np.sum(p[p > 0] * np.log(p[p > 0] / each.mean(axis=0)[p > 0])) for p in each]) for each in COMMITTEE
    ]
    assert consensus_divergence(COMMITTEE) == pytest.approx(divergence)
    for name in ("vote_entropy", "committee_divergence"):
        chosen = choose(name, COMMITTEE[:, 0], None, 4, np.random.default_rng(0), committee=COMMITTEE)
        assert chosen.tolist() == [2, 1, 3, 0]


def test_a_committee_of_one_chooses_as_margin_does() -> None:
    probabilities, _ = predictions()
    wanted = np.argsort(margin(probabilities))[:20].tolist()
    for name in ("vote_entropy", "committee_divergence"):
        for committee in (None, probabilities[:, None]):
            chosen = choose(name, probabilities, None, 20, np.random.default_rng(0), committee=committee)
            assert chosen.tolist() == wanted


def test_a_tie_never_overrules_votes() -> None:
    """Two ways in which up to ten models may vote differ by more than the margin weighs, or not at all."""
    from learnloop.annotation.strategies.ranked import TIE

    for models in range(2, 11):
        values = {round(float(entropy(np.asarray([split]) / models)[0]), 9) for split in partitions(models, models)}
        assert min(abs(a - b) for a, b in combinations(values, 2)) > 100 * TIE


def partitions(total: int, most: int) -> list[list[int]]:
    """Ways to write ``total`` as a sum of parts of at most ``most``, each filled up with zeros to ten parts."""
    if total == 0:
        return [[0] * 10]
    return [[part, *rest[:9]] for part in range(min(most, total), 0, -1) for rest in partitions(total - part, part)]


def test_class_balanced_takes_each_class_in_turn_and_fills_up_from_the_others() -> None:
    random = np.random.default_rng(0)
    predicted = np.asarray([0] * 50 + [1] * 50 + [2] * 2)
    probabilities = np.full((102, 3), 0.1)
    probabilities[np.arange(102), predicted] = 0.8
    probabilities += random.random((102, 3)) * 0.01
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    chosen = choose("class_balanced", probabilities, None, 12, random)
    assert sorted(predicted[chosen[:3]]) == sorted(predicted[chosen[3:6]]) == [0, 1, 2]
    assert np.bincount(predicted[chosen]).tolist() == [5, 5, 2]
    first = chosen[predicted[chosen] == 0]
    assert first.tolist() == np.argsort(margin(probabilities[:50]))[:5].tolist()


def test_diverse_mini_batch_does_not_ask_the_same_thing_twice() -> None:
    """Of two tight groups of equally uncertain samples it asks about both; margin alone need not."""
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(0, 0.01, (50, 2)), random.normal(9, 0.01, (50, 2))])
    chosen = choose("diverse_mini_batch", np.full((100, 2), 0.5), features, 2, random)
    assert {int(index) // 50 for index in chosen} == {0, 1}


def test_equals_come_in_any_order_also_when_all_are_chosen() -> None:
    even = np.full((6, 2), 0.5)
    orders = {
        tuple(choose("margin_sampling", even, None, 6, np.random.default_rng(seed)).tolist()) for seed in range(50)
    }
    assert len(orders) > 30


def test_a_pick_cannot_tell_by_place_what_was_most_wanted() -> None:
    """So a pick that takes what stands first, as by a tie of distances, takes any of the shortlist."""
    first = Strategy(
        "first", lambda p, committee, random: margin(p), pick=lambda shortlist, size, random: np.arange(size)
    )
    probabilities, features = predictions(n=10)
    scores = first.scores(probabilities, None, np.random.default_rng(0))
    rows = np.argsort(scores)
    taken = {int(narrow(first, rows, scores, features, 1, np.random.default_rng(seed))[0]) for seed in range(200)}
    assert taken == set(range(10))


def test_k_center_goes_farthest_from_what_is_known() -> None:
    features = np.asarray([[0.0], [1.0], [4.0], [10.0], [10.5]])
    even = np.full((5, 2), 0.5)
    chosen = choose("k_center", even, features, 3, np.random.default_rng(0), known=np.asarray([[0.0]]))
    assert chosen.tolist() == [4, 2, 1]
    with pytest.raises(InvalidInput, match=r"known features must be finite, \[samples, 1\]"):
        choose("k_center", even, features, 3, np.random.default_rng(0), known=np.ones((2, 3)))


def test_k_center_is_the_greedy_cover_by_definition() -> None:
    """Against the textbook: each next sample is the farthest from all before it, known ones included."""
    random = np.random.default_rng(3)
    features, known = random.normal(100, 1, (300, 5)), random.normal(100, 1, (40, 5))
    chosen = choose("k_center", np.full((300, 2), 0.5), features, 25, random, known=known)
    centres = known
    for row in chosen:
        distances = np.linalg.norm(features[:, None] - centres[None], axis=2).min(axis=1)
        assert distances[row] == pytest.approx(distances.max())
        centres = np.vstack([centres, features[row]])


def test_the_first_pool_covers_the_data() -> None:
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(centre, 0.1, (30, 2)) for centre in (0, 10, 20)])
    assert {int(index) // 30 for index in first_pool(features, 3, random)} == {0, 1, 2}
    assert first_pool(features, 1000, random).tolist() == list(range(90))
    assert first_pool(features, 0, random).tolist() == []
    with pytest.raises(InvalidInput, match="finite"):
        first_pool(np.full((5, 2), np.nan), 3, random)


def test_an_unknown_strategy_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="diverse_mini_batch"):
        choose("astrology", *predictions(), 5, np.random.default_rng(0))
