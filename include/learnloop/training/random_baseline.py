"""What random sampling would reach: ``python -m learnloop.training.random_baseline``.

The training split of ``DATA_DIR/dataset``, fully labelled, is the pool. The params are those of the trainer, ``counts``
(label counts) and ``seeds`` (how many draws): for each draw and count a model is trained on so many random samples of
the pool, those of a smaller count among them. The result is ``{"accuracy": {count: mean test accuracy},
"standard_error": {count: ...}}``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learnloop.errors import InvalidInput
from learnloop.jobs.contract import Job, run
from learnloop.training import data, models
from learnloop.training.trainers import trainer_for


def random_baseline(job: Job) -> None:
    params = dict(job.params)
    counts, seeds = _counts(params.pop("counts", None)), params.pop("seeds", 10)
    if not isinstance(seeds, int) or seeds < 1:
        raise InvalidInput(f"seeds is {seeds!r}; it must be a number of draws, at least 1")
    dataset = data.read(job.places.data / "dataset")
    chosen = trainer_for(params, dataset.task_type)
    (X, y), (X_test, y_test) = dataset.training(), dataset.test()
    if counts[-1] > len(y):
        raise InvalidInput(f"counts asks for {counts[-1]} samples, but the pool holds {len(y)}")
    accuracies = np.zeros((seeds, len(counts)))
    for seed in range(seeds):
        order = np.random.default_rng([int(params.get("seed", 0)), seed]).permutation(len(y))
        for column, count in enumerate(counts):
            drawn = order[:count]
            fitted = chosen.fit(X[drawn], y[drawn], dataset.classes, seed=seed)
            predict = models.probabilities(fitted.pipeline, dataset.classes)
            accuracies[seed, column] = (predict(X_test).argmax(axis=1) == y_test).mean()
        job.progress(seed=seed + 1, seeds=seeds)
    error = accuracies.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.zeros(len(counts))
    job.finish(
        {
            "accuracy": dict(zip(map(str, counts), accuracies.mean(axis=0).tolist(), strict=True)),
            "standard_error": dict(zip(map(str, counts), error.tolist(), strict=True)),
            "seeds": seeds,
        }
    )


def _counts(given: object) -> list[int]:
    if not isinstance(given, Sequence) or not given or not all(isinstance(n, int) and n >= 2 for n in given):
        raise InvalidInput(f"counts is {given!r}; it must be a list of label counts, each at least 2")
    return sorted(set(given))


if __name__ == "__main__":
    run(random_baseline)
