"""When the structure is looked at, what is tried, which is taken."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnloop.training.structure.choice import choose
from learnloop.training.structure.needed import Rules, StructureFacts, structure_needed
from learnloop.training.structure.sampler import Told, propose
from learnloop.training.structure.space import WIDTHS, Space, described, first_candidates, key
from learnloop.training.trainers import TRAINERS, trainer

FAMILIES = ("mlp", "logistic", "sgd", "boosting")


@pytest.mark.parametrize(
    ("facts", "needed", "reason"),
    [
        (StructureFacts(60, 60, [0.9]), False, "60 labelled samples, 90 would be a reason"),
        (
            StructureFacts(60, 60, [0.9]),
            False,
            "so would 3 more rounds without a gain, or a fall of accuracy by 2 points",
        ),
        (StructureFacts(89, 60, [0.9, 0.91]), False, "90 would be"),
        (StructureFacts(90, 60, [0.9, 0.91]), True, "grown from 60 to 90"),
        (StructureFacts(80, 60, [0.95, 0.92]), True, "fallen from 95.0% to 92.0%"),
        (StructureFacts(80, 60, [0.9, 0.9, 0.903, 0.9]), True, "not grown in the last 3 rounds"),
        (StructureFacts(80, 60, [0.9, 0.9, 0.903]), False, "1 more rounds"),
        (StructureFacts(80, 60, [0.9, 0.9, 0.903, 0.906]), False, "would be a reason"),
        # On new samples, where the whole interval says so.
        (StructureFacts(80, 60, [0.9], 0.9, 0.8, 0.88), True, "new random samples is 80.0% (at most 88.0%)"),
        (StructureFacts(80, 60, [0.9], 0.9, 0.8, 0.91), False, "would be a reason"),
        (StructureFacts(0, 0, []), False, "no round has trained yet"),
    ],
)
def test_structure_needed(facts: StructureFacts, needed: bool, reason: str) -> None:
    verdict = structure_needed(facts, Rules())
    assert verdict.needed is needed
    assert reason in verdict.reason


@pytest.mark.parametrize(
    "rules", [Rules(growth=3), Rules(plateau_rounds=4), Rules(plateau_gain=0.002), Rules(degradation=0.2)]
)
def test_a_dataset_has_rules_of_its_own(rules: Rules) -> None:
    flat_grown_and_fallen = StructureFacts(150, 60, [0.9, 0.9, 0.903, 0.8])
    assert structure_needed(flat_grown_and_fallen, Rules()).needed
    only = {
        "growth": StructureFacts(150, 60, [0.9]),
        "plateau_rounds": StructureFacts(60, 60, [0.9, 0.9, 0.903, 0.9]),
        "plateau_gain": StructureFacts(60, 60, [0.9, 0.9, 0.903, 0.9]),
        "degradation": StructureFacts(60, 60, [0.9, 0.8]),
    }
    (changed,) = (name for name in only if getattr(rules, name) != getattr(Rules(), name))
    assert structure_needed(only[changed], Rules()).needed
    assert not structure_needed(only[changed], rules).needed


def space(hidden: list[int] | None = None, *, name: str = "mlp", labels: int = 220, **parameters: Any) -> Space:
    current = {"name": name, "hidden": hidden or [32], "parameters": parameters}
    return Space(current, FAMILIES, classes=10, labels=labels)


def test_first_what_lies_next_to_the_current_structure() -> None:
    assert [described(found) for found in first_candidates(space(alpha=0.1))] == [
        "mlp 32 alpha=0.1",
        "mlp 64 alpha=0.1",
        "mlp 32-32 alpha=0.1, grown",
        "mlp 16 alpha=0.1, grown",
        "mlp 64 alpha=0.1, grown",
        "logistic",
        "sgd",
        "boosting",
    ]
    assert [found["start"] for found in first_candidates(space())] == ["warm", "cold", *["grown"] * 3, *["cold"] * 3]


def test_what_is_too_large_for_the_data_or_too_small_is_not_tried() -> None:
    def widths(of: Space) -> list[list[int]]:
        return [found["trainer"]["hidden"] for found in first_candidates(of) if found["trainer"]["name"] == "mlp"][1:]

    assert widths(space([8], labels=1)) == [[16], [8, 8], [16]]
    assert widths(space([1024], labels=10**6)) == [[1024, 1024], [512]]
    assert widths(space([1024], labels=10)) == []


def test_another_family_keeps_what_is_its_own() -> None:
    found = list(first_candidates(space(name="logistic", C=0.5)))
    assert [described(one) for one in found] == ["logistic C=0.5", "mlp 32", "mlp 64", "sgd", "boosting"]
    assert found[1]["trainer"]["parameters"] == {}


VALUES = (0.9, 0.05, 10_000.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_proposed_is_new_fits_the_data_and_can_be_trained(name: str) -> None:
    where = space(name=name)
    told = [Told(found, "done", VALUES) for found in first_candidates(where)]
    for number in range(25):
        candidate = propose(where, told, seed=number)
        assert candidate is not None
        assert key(candidate) not in {key(one.candidate) for one in told}
        made = trainer({**candidate["trainer"], **({"grow": True} if candidate["start"] == "grown" else {})})
        assert type(made) is TRAINERS[candidate["trainer"]["name"]]
        if candidate["trainer"]["name"] == "mlp":
            assert where.fits(candidate["trainer"]["hidden"])
        told.append(Told(candidate, "running" if number % 5 == 0 else "failed" if number % 7 == 0 else "done", VALUES))


def test_the_same_question_has_the_same_answer() -> None:
    told = [Told(found, "done", VALUES) for found in first_candidates(space())]
    assert propose(space(), told, seed=3) == propose(space(), told, seed=3)
    assert len({str(propose(space(), told, seed=seed)) for seed in range(5)}) > 1


def test_a_space_that_is_used_up_has_nothing_to_propose() -> None:
    tiny = Space({"name": "mlp", "hidden": [8], "parameters": {}}, ("mlp",), classes=2, labels=1)
    told = [Told(found, "done", VALUES) for found in first_candidates(tiny)]
    for seed in range(100):
        candidate = propose(tiny, told, seed=seed)
        if candidate is None:
            break
        told.append(Told(candidate, "done", VALUES))
    else:
        pytest.fail("there was always something new")
    assert len({key(one.candidate) for one in told}) == len(told)


def test_the_search_goes_where_it_is_better() -> None:
    """Where wide perceptrons are better. Of random ones, one in twelve is so wide: fewer than two in twenty."""

    def quality(candidate: dict[str, Any]) -> tuple[float, float, float]:
        hidden = candidate["trainer"]["hidden"]
        wide = candidate["trainer"]["name"] == "mlp" and hidden[0] >= 256
        return (0.95 if wide else 0.7, 0.05, float(1000 * hidden[0]))

    where = space([32], labels=10**6)
    told = [Told(found, "done", quality(found)) for found in islice(first_candidates(where), 5)]
    for number in range(40):
        candidate = propose(where, told, seed=number)
        assert candidate is not None
        told.append(Told(candidate, "done", quality(candidate)))
    late = Counter(one.values[0] for one in told[-20:] if one.values is not None)
    assert late[0.95] >= 6


def result(name: str, accuracies: list[float], size: int, latency_ms: float | None = None) -> dict[str, Any]:
    return {
        "described": name,
        "accuracies": accuracies,
        "accuracy": sum(accuracies) / len(accuracies),
        "folds": 5,
        "model_bytes": size,
        "latency_ms": size / 1e5 if latency_ms is None else latency_ms,
    }


CURRENT = result("mlp 32", [0.90, 0.91, 0.89, 0.90, 0.92] * 2, 100_000)


def shifted(name: str, by: float, size: int, jitter: float = 0.005, latency_ms: float | None = None) -> dict[str, Any]:
    moved = [a + by + (jitter if i % 2 else -jitter) for i, a in enumerate(CURRENT["accuracies"])]
    return result(name, moved, size, latency_ms)


@pytest.mark.parametrize(
    ("others", "index", "reason"),
    [
        ([], None, "no other structure to try"),
        ([shifted("64", 0.03, 150_000)], 1, "64 is better than mlp 32 beyond noise (+3.00 points"),
        # A gain within noise changes nothing.
        ([shifted("64", 0.01, 150_000, jitter=0.03)], None, "no structure is better than mlp 32 beyond noise"),
        ([shifted("64", -0.03, 150_000)], None, "differs by -3.00 points"),
        # Of equally good ones the smaller is taken.
        ([shifted("128", 0.0305, 300_000), shifted("64", 0.03, 150_000)], 2, "64 is better"),
        # As good at half the size, or half the latency.
        ([shifted("16", -0.001, 40_000)], 1, "16 is as good as mlp 32"),
        ([shifted("16", -0.02, 40_000)], None, "no structure is better"),
        ([shifted("16", -0.001, 60_000)], None, "no structure is better"),
        ([shifted("16", -0.001, 100_000, latency_ms=0.4)], 1, "as good"),
        ([shifted("16", -0.001, 40_000, latency_ms=1.4)], None, "no structure is better"),
        # As good by chance: it might as well lose three points.
        ([shifted("16", -0.001, 40_000, jitter=0.04)], None, "no structure is better"),
    ],
)
def test_choose(others: list[dict[str, Any]], index: int | None, reason: str) -> None:
    choice = choose([CURRENT, *others])
    assert choice.index == index
    assert reason in choice.reason
    assert len(choice.reasons) == len(others) + 1


def test_every_loser_has_its_reason() -> None:
    results = [
        CURRENT,
        shifted("chosen", 0.03, 150_000),
        shifted("larger", 0.031, 300_000),
        shifted("dominated", 0.02, 160_000),
        shifted("worse", -0.05, 20_000),
        shifted("too slow", 0.05, 120_000, latency_ms=20),
        shifted("too large", 0.05, 5_000_000, latency_ms=1),
    ]
    choice = choose(results, max_latency_ms=10, max_model_bytes=1_000_000)
    assert choice.index == 1
    assert choice.front == [0, 1, 2, 4]
    for said, expected in zip(
        choice.reasons,
        ["replaced by chosen", "is better than", "which is smaller", "chosen is no worse in", "beyond noise (-5.00",
         "a row takes 20 ms, and the gate allows 10", "has 5,000,000 bytes"],
        strict=True,
    ):  # fmt: skip
        assert expected in said


def test_trying_many_finds_nothing_better_where_there_is_nothing() -> None:
    """Sixteen structures of equal worth, a hundred times: a change in one of twenty at most."""
    generator = np.random.default_rng(0)
    changes = 0
    for _ in range(100):
        # Accuracies vary with the fold, and with the structure in it.
        folds = generator.normal(0.9, 0.03, size=10)
        results = [result(str(n), list(folds + generator.normal(0, 0.02, size=10)), 1000 + n) for n in range(16)]
        changes += choose(results).index is not None
    assert changes <= 5


@given(points=st.lists(st.tuples(st.integers(80, 99), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_the_front_holds_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    results = [result(str(n), [a / 100] * 10, size * 1000, 2.0**slow) for n, (a, slow, size) in enumerate(points)]
    front = choose(results).front

    def dominates(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
        return a != b and a[0] >= b[0] and a[1] <= b[1] and a[2] <= b[2]

    assert front == [n for n, own in enumerate(points) if not any(dominates(other, own) for other in points)]


def test_widths_lie_on_a_grid_that_a_search_can_step_on() -> None:
    assert all(1 < b / a <= 1.5 for a, b in pairwise(WIDTHS))
