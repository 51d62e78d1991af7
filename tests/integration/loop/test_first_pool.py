"""A dataset without a label and without a model: a first pool is chosen by k-means, answered, and a model comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from test_texts_and_rows import TABLES, run_job

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.annotation.scoring import GOLD_FILE, choose_from_predictions, predict_shard
from learnloop.database import AnnotationTask, Batch, DatasetVersion, GoldQuestion
from learnloop.datasets.batch import register_batch
from learnloop.datasets.contents import annotations_of
from learnloop.datasets.pool_merge import merge_confirmed
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.loop.rounds import consumed, due_rounds, start_round
from learnloop.models.gate import decide
from learnloop.serving.client import ModelClient
from learnloop.stack.demo import digits
from learnloop.training.evaluate import evaluate
from learnloop.training.train import train

BUDGET = 60
NOBODY = ModelClient("http://127.0.0.1:9")  # to ask it would be an error


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> digits.Digits:
    """scikit-learn's digits; only the description of the dataset and the pool without labels are used."""
    return digits.write(tmp_path_factory.mktemp("digits"), "scans", budget=BUDGET)


@pytest.fixture
def head(db: Session, tmp_path: Path, scans: digits.Digits) -> DatasetVersion:
    """A version that has a ``dataset.yaml`` and not one sample."""
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "dataset.yaml").write_bytes((scans.dataset / "dataset.yaml").read_bytes())
    return snapshot(db, Store(tmp_path / "store"), folder, owner="ann")


def pinned(batch: Batch) -> dict[str, Any]:
    name = batch.dataset.name
    return {"dataset": name, "batch_id": batch.id, "tree": batch.tree, "model_name": name, "model_version": 0}


def scored(db: Session, store: Store, batch: Batch, folder: Path, run_id: str = "r") -> Any:
    pin = pinned(batch)
    for start in range(0, batch.samples, 500):
        shard = {**pin, "kind": "batch", "start": start, "stop": min(start + 500, batch.samples), "committee": []}
        predict_shard(db, store, NOBODY, shard, folder)
    predict_shard(db, store, NOBODY, {**pin, "kind": "gold", "start": 0, "stop": 0}, folder)
    run = choose_from_predictions(db, store, pin, folder, run_id=run_id, owner="ann")
    db.commit()
    return run


def test_from_nothing_to_a_model(db: Session, tmp_path: Path, head: DatasetVersion, scans: digits.Digits) -> None:
    store, dataset = Store(tmp_path / "store"), head.dataset
    batch = register_batch(db, store, dataset, scans.pool, name="first", owner="ann")
    run = scored(db, store, batch, tmp_path / "predictions")
    assert (run.scored, run.chosen, run.strategy, run.model_version) == (1377, BUDGET, "k_means", 0)
    assert (run.summary["random"], run.summary["accuracy_on_random"]) == (0, [])
    assert (tmp_path / "predictions" / GOLD_FILE).exists()
    assert db.scalars(select(GoldQuestion)).all() == []
    tasks = db.scalars(select(AnnotationTask)).all()
    assert {task.reason["strategy"] for task in tasks} == {"k_means"}
    assert [task.prediction["confidence"] for task in tasks] == pytest.approx([0.1] * BUDGET)
    # They cover the scans: the mean distance to the nearest is shorter than with as many drawn at random.
    names = sorted(path.stem for path in scans.pool.iterdir())
    features = np.stack([scans.pixels[name].ravel() for name in names]).astype(np.float64)
    chosen = np.asarray([names.index(task.sample_id) for task in tasks])
    drawn = [np.random.default_rng(seed).choice(len(names), BUDGET, replace=False) for seed in range(20)]
    assert apart(features, chosen) < min(apart(features, rows) for rows in drawn)
    again = choose_from_predictions(db, store, pinned(batch), tmp_path / "predictions", run_id="r", owner="ann")
    assert again is run

    while (task := claim(db, dataset.id, "ben", lease_seconds=60)) is not None:
        submit(db, task.id, "ben", scans.truth[task.sample_id])
    db.commit()
    (due,) = due_rounds(db)
    started = start_round(db, due.run_id)
    confirmed = consumed(db, started)
    assert len(confirmed) == BUDGET
    given = {"base": head, "owner": "ann", "message": "", "run_id": due.run_id}
    merged = merge_confirmed(db, store, dataset, confirmed, **given)
    version = preprocess(db, store, merged, owner="ann")
    db.commit()
    # A retry ends in the same version.
    assert preprocess(db, store, merge_confirmed(db, store, dataset, confirmed, **given), owner="ann") is version
    splits = annotations_of(store, version)["split"].to_pylist()
    assert set(splits) == {"train", "test"}
    assert len(splits) == BUDGET

    store.checkout(store.read_tree(version.tree), tmp_path / "staged", include=TABLES)
    made = run_job(tmp_path / "train", train, {"dataset": tmp_path / "staged"}, name="logistic")
    model = made.path("models/model")
    found = run_job(tmp_path / "evaluate", evaluate, {"dataset": tmp_path / "staged", "candidate": model}).result
    assert decide(found, min_gain=0, max_class_drop=0.1).accepted
    assert found["candidate"]["accuracy"] > 0.6

    # The next labels go into training only: the test split stays.
    later = scored(db, store, batch, tmp_path / "predictions", run_id="r2")
    assert later.summary["already_asked"] == BUDGET


def apart(features: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> float:
    """The mean distance of the samples to the nearest of ``rows``."""
    squares = (features**2).sum(axis=1)
    distances = squares[:, None] - 2 * features @ features[rows].T + squares[rows]
    return float(np.sqrt(np.maximum(distances, 0)).min(axis=1).mean())


def test_of_few_samples_all_are_asked_about(
    db: Session, tmp_path: Path, head: DatasetVersion, scans: digits.Digits
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(scans.pool.iterdir())[:3]:
        (few / path.name).write_bytes(path.read_bytes())
    store = Store(tmp_path / "store")
    batch = register_batch(db, store, head.dataset, few, name="few", owner="ann")
    assert scored(db, store, batch, tmp_path / "predictions").chosen == 3
