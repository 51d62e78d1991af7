"""Live requests: counted and kept only where the dataset says so, and back in the loop as drift and as questions."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import skops.io
import yaml
from PIL import Image
from serving_support import wait_until
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sqlalchemy import update

from learnloop.annotation.scoring import choose_from_predictions, predict_shard
from learnloop.database import AnnotationTask, Batch, Dataset, LiveSample, LiveWindow, session
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.errors import InvalidInput
from learnloop.loop.facts import facts_of
from learnloop.loop.live import live_drift, register_live_batches
from learnloop.models.deployment import deploy
from learnloop.serving.client import ModelClient
from learnloop.training.policy import evaluate
from learnloop.training.reference import FILE, reference

CONFIG = {
    "name": "digits",
    "task_type": "image_classification",
    "classes": [str(digit) for digit in range(10)],
    "image": {"width": 8, "height": 8, "mode": "L"},
}


def png(row: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.clip(row, 0, 255).reshape(8, 8).astype(np.uint8), "L").save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return (images * 15).astype(np.float32), labels.astype(str)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, digits) -> Path:
    """A model as a training job leaves it: with its dataset.yaml and what its features were like."""
    folder = tmp_path_factory.mktemp("trained") / "digits" / "1"
    folder.mkdir(parents=True)
    rows, labels = digits[0][:1000], digits[1][:1000]
    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression(C=0.01)).fit(rows, labels), folder / "model.skops")
    flavor = {"pickled_model": "model.skops", "serialization_format": "skops"}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))
    (folder / "dataset.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / FILE).write_text(json.dumps(reference(rows)))
    return folder


@pytest.fixture
def dataset(database_url, tmp_path, digits) -> tuple[int, Store]:
    """Digits with a version of forty labelled images."""
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "dataset.yaml").write_text(yaml.safe_dump(CONFIG))
    lines = []
    for index in range(40):
        (folder / f"{index}.png").write_bytes(png(digits[0][index]))
        lines.append({"sample_id": str(index), "path": f"{index}.png", "label": str(digits[1][index])})
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(lines), folder / "annotations.parquet")
    store = Store(tmp_path / "store")
    with session(database_url) as db:
        version = snapshot(db, store, folder, owner="ann")
        return version.dataset_id, store


@pytest.fixture
def server(serve, database_url, dataset, model_folder):
    with session(database_url) as db:
        deploy(db, dataset_id=dataset[0], model_name="digits", alias="current", version=1, owner="ann")
    return serve(source_of=lambda name, version: model_folder)


@pytest.fixture
def wants(database_url, dataset, server):
    """Has the dataset want something noted, and waits until the server knows."""

    def ask(**rules) -> None:
        with session(database_url) as db:
            found = db.get_one(Dataset, dataset[0])
            found.loop = {**found.loop, "live": {"record": 0.0, "ask_below": None, "ask_a_day": 40, **rules}}
        wait_until(lambda: server.reconciler.notes("digits", **rules))

    return ask


def counted(db) -> int:
    db.rollback()
    return sum(window.rows for window in db.query(LiveWindow))


def test_samples_are_read_by_the_models_recipe(server, digits):
    with ModelClient(server.url) as client:
        by_file = client.infer_samples("digits", [png(row) for row in digits[0][:20]])
        by_features = client.infer("digits", np.trunc(digits[0][:20]))
        np.testing.assert_allclose(by_file.probabilities, by_features.probabilities, atol=1e-6)
        with pytest.raises(InvalidInput, match="sample 1 is not a readable image"):
            client.infer_samples("digits", [png(digits[0][0]), b"no image"])
        assert client.metadata("digits")["parameters"]["sample"] == "image_classification"


def test_nothing_is_noted_unless_the_dataset_says_so(server, wants, digits, db):
    with ModelClient(server.url) as client:
        client.infer_samples("digits", [png(row) for row in digits[0][:50]])
        wants(record=1.0)
        client.infer("digits", digits[0][:30])
        wait_until(lambda: counted(db) == 30)
    assert db.query(LiveSample).count() == 0
    (window,) = db.query(LiveWindow)
    assert sum(window.counts["confidence"]) == sum(window.counts["predicted"]) == 30
    assert {sum(feature) for feature in window.counts["inputs"]} == {30}


def test_a_request_may_say_that_it_is_not_to_be_noted(server, wants, digits, db):
    wants(record=1.0, ask_below=1.0)
    tensor = {"name": "features", "datatype": "FP32", "shape": [2, 64], "data": digits[0][:2].ravel().tolist()}
    import httpx

    url = f"{server.url}/v2/models/digits/infer"
    for record in (False, True):
        body = {"inputs": [tensor], "parameters": {"record": record}}
        assert httpx.post(url, json=body).status_code == 200
    wait_until(lambda: counted(db) > 0)
    assert counted(db) == 2


def test_drift_of_what_is_asked_reaches_the_training_policy(server, wants, digits, db, dataset, database_url):
    wants(record=1.0)
    with ModelClient(server.url) as client:
        client.infer("digits", digits[0][1000:1700])
        wait_until(lambda: counted(db) == 700)
    found = db.get_one(Dataset, dataset[0])
    found.loop = {**found.loop, "policy": {"labels": 1000, "drift": 0.25}}
    ((of, value, by_chance),) = live_drift(db, found)
    assert of == "what the model is asked"
    assert value < max(0.25, by_chance)  # other digits of the same kind are no drift
    db.execute(update(LiveWindow).values(started_at=datetime.now(UTC) - timedelta(hours=3)))
    db.commit()
    with ModelClient(server.url) as client:
        client.infer("digits", 255 - digits[0][1000:1700])  # somebody sends negatives
        wait_until(lambda: counted(db) == 1400)
    found = db.get_one(Dataset, dataset[0])
    found.loop = {**found.loop, "policy": {"labels": 1000, "drift": 0.25}}
    facts = facts_of(db, found, waiting=5, open_round=None)
    from learnloop.loop.facts import rules_of

    verdict = evaluate(facts, rules_of(found))
    assert verdict.due
    assert verdict.reason.startswith("what the model ")
    assert "has drifted: PSI" in verdict.reason


def test_samples_that_the_model_is_not_sure_of_become_questions_and_no_others(
    server, wants, digits, db, dataset, database_url, tmp_path
):
    wants(ask_below=0.9, ask_a_day=15)
    rows = digits[0][1000:1200]
    noise = np.random.default_rng(0).integers(0, 255, size=(20, 64))
    with ModelClient(server.url) as client:
        answer = client.infer_samples("digits", [png(row) for row in (*rows, *noise)])
        unsure = answer.probabilities.max(axis=1) < 0.9
        assert 15 < unsure.sum() < 200
        wait_until(lambda: db.rollback() or db.query(LiveSample).count() == 15)
        least = np.sort(answer.probabilities.max(axis=1))[:15]
        assert sorted(sample.confidence for sample in db.query(LiveSample)) == pytest.approx(least.tolist())
        client.infer_samples("digits", [png(row) for row in noise])  # the day's share is used up
        sessions = lambda: session(database_url)  # noqa: E731
        assert register_live_batches(sessions, dataset[1], owner="service:learnloop") == []  # more may come
        db.execute(update(LiveSample).values(seen_at=datetime.now(UTC) - timedelta(hours=1)))
        db.commit()
        (live,) = register_live_batches(sessions, dataset[1], owner="service:learnloop")
        assert register_live_batches(sessions, dataset[1], owner="service:learnloop") == [live]  # until it is scored
        batch = db.query(Batch).filter_by(name=live.batch).one()
        assert (batch.samples, batch.provenance["kind"]) == (15, "live")
        assert db.query(LiveSample).count() == 0
        pin = {"batch_id": batch.id, "tree": batch.tree, "model_name": "digits", "model_version": 1}
        shard = {**pin, "dataset": "digits", "kind": "batch", "start": 0, "stop": 15}
        predict_shard(db, dataset[1], client, shard, tmp_path / "predictions")
    run = choose_from_predictions(db, dataset[1], pin, tmp_path / "predictions", run_id=live.run_id, owner="ann")
    db.commit()
    assert run.chosen == 15
    tasks = db.query(AnnotationTask).all()
    assert len(tasks) == 15
    assert all(task.path.endswith(".png") and dataset[1].read(task.object) for task in tasks)
    assert register_live_batches(sessions, dataset[1], owner="service:learnloop") == []


def test_what_was_noted_is_written_when_the_database_is_back(server, wants, digits, db, monkeypatch, database_url):
    wants(record=1.0)
    recorder = server.reconciler._recorder
    monkeypatch.setattr(recorder, "_database_url", database_url.replace("/test_", "/gone_"))
    monkeypatch.setattr(server.reconciler, "_database_url", recorder._database_url)
    monkeypatch.setattr(server.reconciler._reports, "_database_url", recorder._database_url)
    wait_until(lambda: not server.metrics.database_up)
    with ModelClient(server.url) as client:
        client.infer("digits", digits[0][:7])
    monkeypatch.undo()
    wait_until(lambda: counted(db) == 7)
