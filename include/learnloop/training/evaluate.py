"""The evaluation job: ``python -m learnloop.training.evaluate``.

Scores ``DATA_DIR/candidate`` and, when there is one, ``DATA_DIR/current`` on the test split of ``DATA_DIR/dataset``.
The result is ``{"candidate": scores, "current": scores | null, "comparison": ... | null, "test_samples": n}``.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnloop.errors import InvalidInput
from learnloop.jobs.contract import Job, run
from learnloop.training import data, models
from learnloop.training.data import Labels, Rows

BINS = 15
RESAMPLES = 2000
LATENCY_CALLS = 200


def scores(model: models.Model, X: Rows, y: Labels, classes: tuple[str, ...]) -> dict[str, Any]:
    """How good ``model`` is on ``X``, ``y`` (indices into ``classes``).

    ``confusion[i][j]`` counts samples of class i taken for class j. ``per_class`` leaves out classes without samples.
    ``worst_class`` is the class with the lowest accuracy. ``latency_ms`` is the median of many single rows.
    """
    probabilities = _in_order(model, X, classes)
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (y, predicted), 1)
    support = confusion.sum(axis=1)
    per_class = {
        name: {"accuracy": float(confusion[index, index] / support[index]), "support": int(support[index])}
        for index, name in enumerate(classes)
        if support[index]
    }
    return {
        "accuracy": float((predicted == y).mean()),
        "per_class": per_class,
        "worst_class": min(per_class, key=lambda name: per_class[name]["accuracy"]),
        "confusion": confusion.tolist(),
        "classes": list(classes),
        "ece": expected_calibration_error(probabilities, y),
        "calibration": calibration(probabilities, y),
        "latency_ms": latency_ms(model, X),
        "model_bytes": model.size,
    }


def compare(
    candidate: models.Model, current: models.Model, X: Rows, y: Labels, classes: tuple[str, ...], seed: int
) -> dict[str, Any]:
    """What the candidate gains over the current model, on the same samples.

    ``gain_interval`` is the paired bootstrap's 95 % interval of the gain in accuracy: both models are scored on the same
    resampled test sets. ``verdict`` is ``better`` or ``worse`` only where that interval lies on one side of 0, else ``no
    difference``. ``per_class`` is the change in each class's accuracy, ``by_class`` the same with interval and verdict.
    ``forgetting`` is about the classes that the current model knows.
    """
    right = _in_order(candidate, X, classes).argmax(axis=1) == y
    before = _in_order(current, X, classes).argmax(axis=1) == y
    by_class = {
        name: paired(right[y == index], before[y == index], seed)
        for index, name in enumerate(classes)
        if np.any(y == index)
    }
    return {
        **paired(right, before, seed),
        "per_class": {name: found["gain"] for name, found in by_class.items()},
        "by_class": by_class,
        "forgetting": _forgetting(right, before, np.isin(np.array(classes)[y], current.classes), seed),
        "only_candidate_right": int(np.sum(right & ~before)),
        "only_current_right": int(np.sum(before & ~right)),
    }


def paired(right: NDArray[np.bool_], before: NDArray[np.bool_], seed: int) -> dict[str, Any]:
    """Gain in accuracy of one model over another on the same samples: paired bootstrap (Efron & Tibshirani 1993), 95 %."""
    difference = right.astype(np.float64) - before
    # A resample's gain depends only on how many samples of each difference (-1, 0, 1) it drew.
    values, counts = np.unique(difference, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(right), counts / len(right), size=RESAMPLES)
    low, high = np.percentile(drawn @ values / len(right), [2.5, 97.5])
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference"
    return {
        "gain": float(difference.mean()),
        "gain_interval": [float(low), float(high)],
        "verdict": verdict,
        "support": len(right),
    }


def _forgetting(
    right: NDArray[np.bool_], before: NDArray[np.bool_], known: NDArray[np.bool_], seed: int
) -> dict[str, Any] | None:
    """How accurate both are on what the parent knew, and how much of what it had right is lost; None when it knew nothing.

    Samples of classes that came later are left out: nobody can forget what they never knew.
    """
    if not known.any():
        return None
    right, before = right[known], before[known]
    return {
        "accuracy_before": float(before.mean()),
        "accuracy": float(right.mean()),
        "forgotten": int(np.sum(before & ~right)),
        "were_right": int(before.sum()),
        **paired(right, before, seed),
    }


def expected_calibration_error(probabilities: NDArray[Any], y: Labels) -> float:
    """Mean gap between confidence and accuracy over 15 bins of confidence (Guo et al., ICML 2017)."""
    return sum(
        bin_["count"] * abs(bin_["confidence"] - bin_["accuracy"]) for bin_ in calibration(probabilities, y)
    ) / len(y)


def calibration(probabilities: NDArray[Any], y: Labels) -> list[dict[str, float]]:
    """Mean confidence, accuracy and number of the samples in each of 15 bins of confidence; empty ones are left out."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums, hits = (np.bincount(bins, weights=of, minlength=BINS) for of in (confidence, right))
    return [
        {"confidence": float(sums[n] / counts[n]), "accuracy": float(hits[n] / counts[n]), "count": int(counts[n])}
        for n in np.flatnonzero(counts)
    ]


def latency_ms(model: models.Model, X: Rows) -> float:
    """Median time of predicting one row, in milliseconds."""
    times = []
    for call in range(LATENCY_CALLS):
        row = X[call % len(X)][None, :]
        started = time.perf_counter()
        model.predict_proba(row)
        times.append(time.perf_counter() - started)
    return float(np.median(times) * 1000)


def _in_order(model: models.Model, X: Rows, classes: tuple[str, ...]) -> NDArray[Any]:
    """Probabilities in the dataset's order of classes; a class that the model does not know gets 0."""
    known = model.predict_proba(X)
    if model.classes == classes:
        return known
    strange = sorted(set(model.classes) - set(classes))
    if strange:
        raise InvalidInput(f"the model predicts {', '.join(strange)}, which the dataset's classes do not list")
    result = np.zeros((len(X), len(classes)))
    result[:, [classes.index(name) for name in model.classes]] = known
    return result


def evaluate(job: Job) -> None:
    dataset = data.read(job.places.data / "dataset")
    X, y = dataset.test()
    candidate = models.load(job.places.data / "candidate")
    result: dict[str, Any] = {
        "test_samples": len(y),
        "candidate": scores(candidate, X, y, dataset.classes),
        "current": None,
        "comparison": None,
    }
    if (job.places.data / "current").exists():
        current = models.load(job.places.data / "current")
        result["current"] = scores(current, X, y, dataset.classes)
        seed = int(job.params.get("seed", 0))
        result["comparison"] = compare(candidate, current, X, y, dataset.classes, seed)
    print(f"candidate {result['candidate']['accuracy']:.4f} on {len(y)} test samples; {result['comparison']}")  # noqa: T201
    job.finish(result)


if __name__ == "__main__":
    run(evaluate)
