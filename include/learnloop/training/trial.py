"""A trial of one structure: ``python -m learnloop.training.trial``.

Cross-validates the trainer and parameters in the params on the training split of ``DATA_DIR/dataset``; the test split
is never looked at. The folds depend on the data and the seed alone, so trials of different structures can be compared
fold by fold. Then fits on the whole training split, and writes that model to ``MODELS_DIR/model``.

The params are those of a training, and ``start``: ``cold``, or ``warm`` or ``grown`` from a model of the structure
``current`` (a trainer's params). That one is fitted in each fold on the same samples: the model that is served has
seen the samples held out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import RepeatedKFold

from learnloop.errors import InvalidDataset
from learnloop.jobs.contract import Job, run
from learnloop.training import data, models
from learnloop.training.data import Labels, Rows
from learnloop.training.evaluate import latency_ms
from learnloop.training.leakage import without_near_test
from learnloop.training.trainers import Fitted, Trainer, trainer_for
from learnloop.training.trainers.base import Progress, no_progress

FOLDS = 5
REPEATS = 2


class Procedure:
    """A candidate's way to a model: perhaps by way of the current structure's."""

    def __init__(self, chosen: Trainer, current: Trainer | None) -> None:
        self.chosen = chosen
        self.current = current

    def fit(self, X: Rows, y: Labels, classes: tuple[str, ...], *, seed: int) -> Fitted:
        parent = None if self.current is None else self.current.fit(X, y, classes, seed=seed).pipeline
        return self.chosen.fit(X, y, classes, parent=parent, seed=seed)


def procedure_of(params: dict[str, Any], task_type: str) -> Procedure:
    """What the job's params ask for."""
    start, current = params.get("start", "cold"), params.get("current")
    own = {name: value for name, value in params.items() if name not in ("start", "current")}
    if start == "grown":
        own["grow"] = True
    return Procedure(trainer_for(own, task_type), None if start == "cold" else trainer_for(current or own, task_type))


def cross_validate(
    procedure: Procedure,
    X: Rows,
    y: Labels,
    classes: tuple[str, ...],
    *,
    seed: int,
    progress: Progress = no_progress,
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
        fitted = procedure.fit(X[train], y[train], classes, seed=seed + fold)
        predict = models.probabilities(fitted.pipeline, classes)
        accuracies.append(float((predict(X[held_out]).argmax(axis=1) == y[held_out]).mean()))
        progress(fold=fold + 1, folds=FOLDS * REPEATS, accuracy=accuracies[-1])
    return accuracies


def trial(job: Job) -> None:
    from learnloop.training.saving import save

    with job.phase("read"):
        dataset, _, _ = without_near_test(data.read(job.places.data / "dataset"))
    params = dict(job.params)
    seed = int(params.get("seed", 0))
    procedure = procedure_of(params, dataset.task_type)
    X, y = dataset.training()
    with job.phase("cross-validate"):
        accuracies = cross_validate(procedure, X, y, dataset.classes, seed=seed, progress=job.progress)
    with job.phase("fit"):
        fitted = procedure.fit(X, y, dataset.classes, seed=seed)
    with job.phase("save"):
        model = save(fitted.pipeline, job.places.models / "model", dataset.classes, X[:32])
    result: dict[str, Any] = {
        "name": params.get("name", "mlp"),
        "hidden": list(getattr(procedure.chosen, "hidden", [])),
        "start": fitted.metrics.get("start", ""),
        "accuracy": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)),
        "accuracies": accuracies,
        "folds": FOLDS,
        "labels": len(y),
        "latency_ms": latency_ms(model, X),
        "model_bytes": model.size,
    }
    print(f"{result['name']} {result['hidden']}: {result['accuracy']:.4f} +- {result['accuracy_std']:.4f}")  # noqa: T201
    job.finish(result, [job.places.models / "model"])


if __name__ == "__main__":
    run(trial)
