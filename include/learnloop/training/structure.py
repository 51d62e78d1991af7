"""When a model's structure should be looked at again, what to try, and whether to change. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

GROWTH = 1.5
PLATEAU_ROUNDS = 3
PLATEAU_GAIN = 0.005
DEGRADATION = 0.02
SMALLEST, WIDEST = 8, 1024
WEIGHTS_A_LABEL = 500  # a structure with more is not tried: so little data cannot tell it from a smaller one


@dataclass(frozen=True)
class StructureFacts:
    """``accuracies``: of the trained rounds, oldest first, on the frozen test split."""

    labels: int
    labels_when_chosen: int
    accuracies: Sequence[float]


@dataclass(frozen=True)
class Verdict:
    needed: bool
    reason: str


@dataclass(frozen=True)
class Choice:
    """``index`` of the chosen result; None: keep the current structure."""

    index: int | None
    reason: str


def structure_needed(facts: StructureFacts) -> Verdict:
    """Whether the labels have grown by half, or accuracy has fallen or stopped growing, since the structure was chosen."""
    before = max(facts.labels_when_chosen, 1)
    if facts.labels >= GROWTH * before:
        return Verdict(
            True,
            f"the labelled data has grown from {facts.labels_when_chosen} to {facts.labels} samples"
            f" (by {facts.labels / before:.1f}, {GROWTH} is enough) since the structure was chosen",
        )
    accuracies = list(facts.accuracies)
    if accuracies and accuracies[-1] < max(accuracies) - DEGRADATION:
        return Verdict(True, f"accuracy has fallen from {max(accuracies):.1%} to {accuracies[-1]:.1%}")
    if facts.labels > facts.labels_when_chosen and len(accuracies) > PLATEAU_ROUNDS:
        earlier, recent = accuracies[-PLATEAU_ROUNDS - 1], accuracies[-PLATEAU_ROUNDS:]
        if max(recent) < earlier + PLATEAU_GAIN:
            return Verdict(
                True, f"accuracy has not grown in the last {PLATEAU_ROUNDS} rounds ({earlier:.1%} to {recent[-1]:.1%})"
            )
    wanted = int(-(-GROWTH * before // 1))
    return Verdict(
        False, f"{facts.labels} labelled samples, {wanted} would be a reason to look again; accuracy is not falling"
    )


def candidates(current: Sequence[int], n_classes: int, labels: int) -> list[dict[str, list[int]]]:
    """Structures to try beside ``current`` (widths of its hidden layers): half, double, four times as wide, a layer deeper.

    Returns:
        Parameters of the trainer, such as ``{"hidden": [64]}``; those too large for ``labels`` samples are left out.
    """
    tried = [list(current)]
    found = []
    widest = max(current)
    for widths in (
        [width // 2 for width in current],
        [width * 2 for width in current],
        [width * 4 for width in current],
        [*current, max(widest // 2, n_classes)],
    ):
        weights = sum(a * b for a, b in zip(widths, [*widths[1:], n_classes], strict=True))
        fits = weights <= WEIGHTS_A_LABEL * labels and min(widths) >= SMALLEST and max(widths) <= WIDEST
        if fits and widths not in tried:
            tried.append(widths)
            found.append({"hidden": widths})
    return found


def choose(current: dict[str, Any], results: Sequence[dict[str, Any]]) -> Choice:
    """Choose among trials (what ``learnloop.training.trial`` wrote), all on the same folds of the training split.

    A structure replaces the current one when its gain is beyond noise: the mean of the paired differences over the
    folds is more than two of its standard errors above 0, corrected for folds that share training data
    (Nadeau & Bengio, Machine Learning 2003). Of equally good ones the smaller and quicker is taken.
    Failing that, one of at most half the size whose loss is within noise and under half a percentage point
    replaces it too.
    """
    comparisons = [_gain(current["accuracies"], result["accuracies"], result["folds"]) for result in results]
    better = [index for index, (gain, error) in enumerate(comparisons) if gain > 0 and gain > 2 * error]
    if better:
        top = max(comparisons[index][0] for index in better)
        equal = [index for index in better if comparisons[index][0] >= top - comparisons[index][1]]
        best = min(equal, key=lambda index: (results[index]["model_bytes"], results[index]["latency_ms"]))
        gain, error = comparisons[best]
        return Choice(
            best,
            f"{_name(results[best])} is better than {_name(current)} by {gain:.2%} (noise {2 * error:.2%}):"
            f" {results[best]['accuracy']:.2%} against {current['accuracy']:.2%} in cross-validation,"
            f" {results[best]['model_bytes'] / 1024:.0f} KiB, {results[best]['latency_ms']:.2f} ms a row",
        )
    smaller = [
        index
        for index, (gain, error) in enumerate(comparisons)
        if results[index]["model_bytes"] <= current["model_bytes"] / 2 and gain > -0.005 and gain + 2 * error >= 0
    ]
    if smaller:
        best = min(smaller, key=lambda index: float(results[index]["model_bytes"]))
        return Choice(
            best,
            f"{_name(results[best])} is as good as {_name(current)} ({comparisons[best][0]:+.2%}, within noise) at"
            f" {results[best]['model_bytes'] / 1024:.0f} instead of {current['model_bytes'] / 1024:.0f} KiB",
        )
    if not results:
        return Choice(None, f"there is no other structure to try beside {_name(current)} with this little data")
    nearest = max(range(len(results)), key=lambda index: comparisons[index][0])
    gain, error = comparisons[nearest]
    return Choice(
        None,
        f"no structure is better than {_name(current)} beyond noise; the nearest, {_name(results[nearest])},"
        f" differs by {gain:+.2%} (noise {2 * error:.2%})",
    )


def _gain(current: Sequence[float], other: Sequence[float], folds: int) -> tuple[float, float]:
    """Mean paired difference, and its corrected standard error."""
    differences = [after - before for before, after in zip(current, other, strict=True)]
    count = len(differences)
    mean = sum(differences) / count
    variance = sum((difference - mean) ** 2 for difference in differences) / max(count - 1, 1)
    # Test to training size of a fold is 1 : folds - 1.
    return mean, float(((1 / count + 1 / (folds - 1)) * variance) ** 0.5)


def _name(result: dict[str, Any]) -> str:
    return "-".join(str(width) for width in result["hidden"]) or str(result.get("name", "the trainer"))
