"""Which of the tried structures to take, if any: on the Pareto front of quality, latency and size. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

ERROR_RATE = 0.05  # how often a search finds a better structure where there is none, whatever number it tries
PRUNING_LOSS = 0.01  # of accuracy, at most, where a smaller structure is as good
CHEAPER = 0.5  # of the size or the latency, for a structure that is only as good
SAME_ACCURACY = 0.002  # two that are nearer than this are the same
SAME_LATENCY = 1.1  # two times nearer than this factor are the same: they are measured

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """What to do with the results.

    Attributes:
        index: of the chosen result; None: keep the current structure, which is result 0.
        reason: of the choice.
        reasons: why each result was not chosen (of the chosen one: why it was), in the order of the results.
        front: indices of the results on the Pareto front.
    """

    index: int | None
    reason: str
    reasons: list[str]
    front: list[int]


@dataclass(frozen=True)
class _Gain:
    """Of one structure over the current one: the mean paired difference over the folds, and the noise around it."""

    mean: float
    noise: float

    def __str__(self) -> str:
        return f"{self.mean * 100:+.2f} points, noise {self.noise * 100:.2f}"


def choose(
    results: Sequence[Result], *, max_latency_ms: float | None = None, max_model_bytes: int | None = None
) -> Choice:
    """Choose among results of ``learnloop.training.trial``, all on the same folds of the training split.

    ``results[0]`` is the current structure's. Only structures on the front of (accuracy, latency, size) and within the
    gate's budgets can be chosen. One that is better beyond noise is taken; of equally good ones, the smallest. Failing
    that, one of at most half the size or latency, and no more of the other, is taken when it is as good: when it loses
    at most a point, noise included.

    Noise is the one-sided bound of a t-test on the paired differences, corrected for folds that share training data
    (Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 2003), and for how many structures were
    tried (Bonferroni): trying many is no way to find a better one where there is none.
    """
    current, others = results[0], range(1, len(results))
    gains = {index: _gain(current, results[index], len(results) - 1) for index in others}
    budgets = [_over_budget(result, max_latency_ms, max_model_bytes) for result in results]
    front = _front(results, [index for index, over in enumerate(budgets) if over is None])
    able = [index for index in front if index]
    better = [index for index in able if gains[index].mean > gains[index].noise]
    as_good = [
        index
        for index in able
        if gains[index].mean - gains[index].noise >= -PRUNING_LOSS and _is_cheaper(results[index], current)
    ]
    if better:
        best = max(better, key=lambda index: gains[index].mean)
        equal = [
            index
            for index in better
            if gains[best].mean - gains[index].mean <= max(SAME_ACCURACY, _error(results[best], results[index]))
        ]
        chosen: int | None = min(equal, key=lambda index: _cost(results[index]))
    else:
        chosen = min(as_good, key=lambda index: _cost(results[index]), default=None)
    reason = _nothing(results, gains) if chosen is None else _why(results[chosen], current, gains[chosen])
    reasons = [
        reason if index == chosen else budgets[index] or _why_not(index, results, gains, front, chosen)
        for index in range(len(results))
    ]
    return Choice(chosen, reason, reasons, front)


def _over_budget(result: Result, max_latency_ms: float | None, max_model_bytes: int | None) -> str | None:
    if max_latency_ms is not None and result["latency_ms"] > max_latency_ms:
        return f"a row takes {result['latency_ms']:.3g} ms, and the gate allows {max_latency_ms:.3g}"
    if max_model_bytes is not None and result["model_bytes"] > max_model_bytes:
        return f"its file has {result['model_bytes']:,} bytes, and the gate allows {max_model_bytes:,}"
    return None


def _front(results: Sequence[Result], indices: Sequence[int]) -> list[int]:
    """Those that no other is at least as good as in everything, and better in something."""
    points = {
        index: (-results[index]["accuracy"], _latency(results[index]), results[index]["model_bytes"])
        for index in indices
    }
    return [
        index
        for index, point in points.items()
        if not any(
            other != point and all(theirs <= own for theirs, own in zip(other, point, strict=True))
            for other in points.values()
        )
    ]


def _latency(result: Result) -> int:
    return round(log(result["latency_ms"]) / log(SAME_LATENCY))


def _is_cheaper(result: Result, current: Result) -> bool:
    size, latency = (result[name] / current[name] for name in ("model_bytes", "latency_ms"))
    return bool((size <= CHEAPER and latency <= SAME_LATENCY) or (latency <= CHEAPER and size <= 1))


def _cost(result: Result) -> tuple[float, float]:
    return result["model_bytes"], result["latency_ms"]


def _differences(before: Result, after: Result) -> list[float]:
    return [b - a for a, b in zip(before["accuracies"], after["accuracies"], strict=True)]


def _error(before: Result, after: Result) -> float:
    """The corrected standard error of the mean paired difference."""
    differences = _differences(before, after)
    count = len(differences)
    mean = sum(differences) / count
    variance = sum((difference - mean) ** 2 for difference in differences) / max(count - 1, 1)
    # Test to training size of a fold is 1 : folds - 1.
    return float(((1 / count + 1 / (after["folds"] - 1)) * variance) ** 0.5)


def _gain(current: Result, other: Result, tried: int) -> _Gain:
    from scipy.stats import t

    differences = _differences(current, other)
    bound = float(t.ppf(1 - ERROR_RATE / tried, max(len(differences) - 1, 1)))
    return _Gain(sum(differences) / len(differences), bound * _error(current, other))


def _why(chosen: Result, current: Result, gain: _Gain) -> str:
    if gain.mean > gain.noise:
        return f"{_name(chosen)} is better than {_name(current)} beyond noise ({gain}): {_figures(chosen)}"
    return (
        f"{_name(chosen)} is as good as {_name(current)} ({gain}) and cheaper: {_figures(chosen)}"
        f" instead of {_figures(current)}"
    )


def _nothing(results: Sequence[Result], gains: Mapping[int, _Gain]) -> str:
    if not gains:
        return f"there is no other structure to try beside {_name(results[0])} with this little data"
    nearest = max(gains, key=lambda index: gains[index].mean)
    return (
        f"no structure is better than {_name(results[0])} beyond noise, and none as good is much cheaper;"
        f" the nearest, {_name(results[nearest])}, differs by {gains[nearest]}"
    )


def _why_not(
    index: int, results: Sequence[Result], gains: Mapping[int, _Gain], front: Sequence[int], chosen: int | None
) -> str:
    if index == 0:
        return "the current structure" if chosen is None else f"replaced by {_name(results[chosen])}"
    gain = gains[index]
    if index not in front:
        point = (results[index]["accuracy"], _latency(results[index]), results[index]["model_bytes"])
        by = next(
            other
            for other in front
            if results[other]["accuracy"] >= point[0]
            and _latency(results[other]) <= point[1]
            and results[other]["model_bytes"] <= point[2]
        )
        return f"{_name(results[by])} is no worse in accuracy, latency and size ({gain} against the current structure)"
    if gain.mean > gain.noise and chosen is not None:
        return (
            f"better than the current structure ({gain}), and no better than {_name(results[chosen])}, which is smaller"
        )
    return f"not better than the current structure beyond noise ({gain})"


def _figures(result: Result) -> str:
    return (
        f"{result['accuracy']:.2%} in cross-validation, {result['model_bytes'] / 1024:.0f} KiB,"
        f" {result['latency_ms']:.2f} ms a row"
    )


def _name(result: Result) -> str:
    return str(result["described"])
