"""Structure optimisation where it matters, in short; `tests/benchmarks/structure` goes through whole streams."""

from __future__ import annotations

import structure_stream as streams

MARGIN = 0.05


def test_a_structure_that_is_too_small_is_replaced_and_the_next_rounds_are_better_by_a_margin() -> None:
    """Four units for ten digits. The same rounds without a search stay where they are."""
    stream, labels = streams.digits_stream(0), [150, 230, 300]
    trainer = {"name": "mlp", "hidden": [4], "parameters": {"max_epochs": 60}}
    found = streams.run(stream, labels, trainer, families=("mlp", "logistic"), trials=4, seed=0)
    without = streams.run(stream, labels, trainer, families=(), trials=0, seed=0)
    assert "grown from 150 to 230" in found.asked[1]
    (choice,) = found.choices
    assert "is better than mlp 4" in choice.reason
    assert found.structures[0] != found.structures[-1]
    assert found.accuracies[0] == without.accuracies[0]
    assert found.accuracies[-1] > without.accuracies[-1] + MARGIN


def test_where_nothing_can_be_better_nothing_changes() -> None:
    """Two normal classes of one covariance: the linear model that is there is the best there can be."""
    stream = streams.gaussian_stream(0)
    trainer = {"name": "logistic", "hidden": [8], "parameters": {}}
    found = streams.run(stream, [200, 310], trainer, families=("logistic", "sgd"), trials=5, seed=0)
    (choice,) = found.choices
    assert choice.index is None
    assert choice.reason.startswith("no structure is better than logistic beyond noise")
    assert found.structures == ["logistic", "logistic"]
