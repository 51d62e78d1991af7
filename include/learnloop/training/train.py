"""The training job: ``python -m learnloop.training.train``.

Reads ``DATA_DIR/dataset`` and, for a warm start, ``DATA_DIR/parent``; writes the model to ``MODELS_DIR/model``. The
params are ``name`` (the trainer), the trainer's own, ``seed``, and ``from_scratch`` (true: no warm start). Training samples
of images and texts that nearly are test samples are left out, and named in the result.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict

import numpy as np

from learnloop.jobs.checksums import write_json
from learnloop.jobs.contract import Job, run
from learnloop.training import data, models
from learnloop.training.leakage import without_near_test
from learnloop.training.reference import FILE, reference
from learnloop.training.trainers import trainer_for

SHOWN = 100  # pairs of near duplicates that a result names


def train(job: Job) -> None:
    started = time.monotonic()
    with job.phase("read"):
        dataset = data.read(job.places.data / "dataset")
        chosen = trainer_for(job.params, dataset.task_type)
        dataset, leaking, left_out = without_near_test(dataset)
    if leaking:
        print(f"{len(leaking)} training samples nearly are test samples, {len(left_out)} left out: {leaking[:10]}")  # noqa: T201
    X, y = dataset.training()
    before = job.places.data / "parent"
    from_scratch = bool(job.params.get("from_scratch"))
    parent = models.load(before).estimator if before.exists() and not from_scratch else None

    fitting = time.monotonic()
    with job.phase("fit"):
        fitted = chosen.fit(
            X,
            y,
            dataset.classes,
            parent=parent,
            seed=int(job.params.get("seed", 0)),
            progress=job.progress,
            checkpoint_dir=job.checkpoint_dir,
        )
    fit_seconds = time.monotonic() - fitting

    from learnloop.training.saving import save

    folder = job.places.models / "model"
    with job.phase("save"):
        saved = save(fitted.pipeline, folder, dataset.classes, X[:32])
    # What a model server needs besides: how samples become features, and what these were like.
    shutil.copyfile(job.places.data / "dataset" / "dataset.yaml", folder / "dataset.yaml")
    write_json(folder / FILE, reference(X))
    right = saved.predict_proba(X).argmax(axis=1) == y
    absent = [name for index, name in enumerate(dataset.classes) if not np.any(y == index)]
    metrics = {**fitted.metrics, "training_accuracy": float(right.mean())}
    print(f"trained {job.params.get('name', 'mlp')} on {len(y)} labels in {fit_seconds:.2f} s: {metrics}")  # noqa: T201
    job.finish(
        {
            "labels": len(y),
            "labels_by_class": {name: int(np.sum(y == index)) for index, name in enumerate(dataset.classes)},
            "classes_without_labels": absent,
            "near_test": {
                "found": len(leaking),
                "left_out": len(left_out),
                "pairs": list(map(asdict, leaking[:SHOWN])),
            },
            "metrics": metrics,
            "params": {"name": job.params.get("name", "mlp"), **chosen.model_dump()},
            "fit_seconds": fit_seconds,
            "seconds": time.monotonic() - started,
            "model_bytes": saved.size,
        },
        [folder],
    )


if __name__ == "__main__":
    run(train)
