"""A trial of one structure: ``python -m learnloop.training.trial``.

Cross-validates the trainer and parameters in the params on the training split of ``DATA_DIR/dataset``; the test split
is never looked at. The folds depend on the data and the seed alone, so trials of different structures can be compared
fold by fold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import skops.io
from sklearn.model_selection import RepeatedKFold

from learnloop.errors import InvalidDataset
from learnloop.jobs.contract import Job, run
from learnloop.training import data, models
from learnloop.training.data import Labels, Rows
from learnloop.training.evaluate import latency_ms
from learnloop.training.trainers import Trainer, trainer_for

FOLDS = 5
REPEATS = 2


def cross_validate(
    chosen: Trainer, X: Rows, y: Labels, classes: tuple[str, ...], *, seed: int, job: Job
) -> list[float]:
    """Accuracies of all folds of all repeats.

    Raises:
        InvalidDataset: there are too few samples for the folds.
    """
    if len(y) < 2 * FOLDS:
        raise InvalidDataset(
            f"{len(y)} labelled training samples are too few for {FOLDS} folds; label at least {2 * FOLDS}"
        )
    accuracies = []
    for fold, (train, held_out) in enumerate(
        RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=seed).split(X)
    ):
        fitted = chosen.fit(X[train], y[train], classes, seed=seed + fold)
        predict = models.probabilities(fitted.pipeline, classes)
        accuracies.append(float((predict(X[held_out]).argmax(axis=1) == y[held_out]).mean()))
        job.progress(fold=fold + 1, folds=FOLDS * REPEATS, accuracy=accuracies[-1])
    return accuracies


def trial(job: Job) -> None:
    dataset = data.read(job.places.data / "dataset")
    chosen = trainer_for(job.params, dataset)
    X, y = dataset.training()
    seed = int(job.params.get("seed", 0))
    accuracies = cross_validate(chosen, X, y, dataset.classes, seed=seed, job=job)
    fitted = chosen.fit(X, y, dataset.classes, seed=seed)

    size = len(skops.io.dumps(fitted.pipeline))
    model = models.Model(
        dataset.classes, X.shape[1], fitted.pipeline, size, models.probabilities(fitted.pipeline, dataset.classes)
    )
    result: dict[str, Any] = {
        "name": job.params.get("name", "mlp"),
        "hidden": list(getattr(chosen, "hidden", [])),
        "accuracy": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)),
        "accuracies": accuracies,
        "folds": FOLDS,
        "labels": len(y),
        "latency_ms": latency_ms(model, X),
        "model_bytes": size,
    }
    print(f"{result['hidden']}: {result['accuracy']:.4f} +- {result['accuracy_std']:.4f}")  # noqa: T201
    job.finish(result)


if __name__ == "__main__":
    run(trial)
