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
        "latency_ms": latency_ms(model, X),
        "model_bytes": model.size,
    }


def compare(
    candidate: models.Model, current: models.Model, X: Rows, y: Labels, classes: tuple[str, ...], seed: int
) -> dict[str, Any]:
    """What the candidate gains over the current model, on the same samples.

    ``gain_interval`` is the paired bootstrap's 95 % interval of the gain in accuracy: both models are scored on the same
    resampled test sets. ``per_class`` is the change in each class's accuracy.
    """
    right = _in_order(candidate, X, classes).argmax(axis=1) == y
    before = _in_order(current, X, classes).argmax(axis=1) == y
    difference = right.astype(np.float64) - before
    # A resample's gain depends only on how many samples of each difference (-1, 0, 1) it drew.
    values, counts = np.unique(difference, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(y), counts / len(y), size=RESAMPLES)
    low, high = np.percentile(drawn @ values / len(y), [2.5, 97.5])
    return {
        "gain": float(difference.mean()),
        "gain_interval": [float(low), float(high)],
        "per_class": {
            name: float(difference[y == index].mean()) for index, name in enumerate(classes) if np.any(y == index)
        },
        "only_candidate_right": int(np.sum(right & ~before)),
        "only_current_right": int(np.sum(before & ~right)),
    }


def expected_calibration_error(probabilities: NDArray[Any], y: Labels) -> float:
    """Mean gap between confidence and accuracy over 15 bins of confidence (Guo et al., ICML 2017)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=confidence, minlength=BINS) - np.bincount(bins, weights=right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(y))


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
