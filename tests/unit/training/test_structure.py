from typing import Any

import pytest

from learnloop.training.structure import StructureFacts, candidates, choose, structure_needed


@pytest.mark.parametrize(
    ("facts", "needed", "reason"),
    [
        (StructureFacts(60, 60, [0.9]), False, "60 labelled samples, 90 would be a reason"),
        (StructureFacts(89, 60, [0.9, 0.91]), False, "90 would be"),
        (StructureFacts(90, 60, [0.9, 0.91]), True, "grown from 60 to 90"),
        (StructureFacts(80, 60, [0.95, 0.92]), True, "fallen from 95.0% to 92.0%"),
        (StructureFacts(80, 60, [0.9, 0.9, 0.903, 0.9]), True, "not grown in the last 3 rounds"),
        (StructureFacts(60, 60, [0.9, 0.9, 0.903, 0.9]), False, "would be a reason"),
        (StructureFacts(0, 0, []), False, "would be a reason"),
    ],
)
def test_structure_needed(facts: StructureFacts, needed: bool, reason: str) -> None:
    verdict = structure_needed(facts)
    assert verdict.needed is needed
    assert reason in verdict.reason


def test_candidates_are_new_and_fit_the_data() -> None:
    assert [found["hidden"] for found in candidates([32], 10, 220)] == [[16], [64], [128], [32, 16]]
    assert [found["hidden"] for found in candidates([8], 10, 1)] == [[16], [32], [8, 10]]
    assert candidates([1024], 10, 10**6) == [{"hidden": [512]}, {"hidden": [1024, 512]}]


def result(hidden: list[int], accuracies: list[float], size: int) -> dict[str, Any]:
    mean = sum(accuracies) / len(accuracies)
    return {
        "hidden": hidden,
        "accuracies": accuracies,
        "accuracy": mean,
        "folds": 5,
        "model_bytes": size,
        "latency_ms": size / 1e5,
    }


CURRENT = result([32], [0.90, 0.91, 0.89, 0.90, 0.92] * 2, 100_000)


def shifted(hidden: list[int], by: float, size: int, jitter: float = 0.005) -> dict[str, Any]:
    return result(hidden, [a + by + (jitter if i % 2 else -jitter) for i, a in enumerate(CURRENT["accuracies"])], size)


@pytest.mark.parametrize(
    ("others", "index", "reason"),
    [
        ([], None, "no other structure to try"),
        ([shifted([64], 0.03, 150_000)], 0, "64 is better than 32 by 3.00%"),
        # A gain within noise changes nothing.
        ([shifted([64], 0.01, 150_000, jitter=0.03)], None, "no structure is better than 32 beyond noise"),
        ([shifted([64], -0.03, 150_000)], None, "differs by -3.00%"),
        # Of equally good ones the smaller is taken.
        ([shifted([128], 0.0305, 300_000), shifted([64], 0.03, 150_000)], 1, "64 is better"),
        # As good at half the size.
        ([shifted([16], -0.001, 40_000)], 0, "16 is as good as 32"),
        ([shifted([16], -0.02, 40_000)], None, "no structure is better"),
    ],
)
def test_choose(others: list[dict[str, Any]], index: int | None, reason: str) -> None:
    choice = choose(CURRENT, others)
    assert choice.index == index
    assert reason in choice.reason
