"""Texts and rows of a table go the whole way of the loop: snapshot, training, scoring, answers, a second round, the gate."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import learning_sets
import pyarrow.parquet as pq
import pytest
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.annotation.scoring import choose_from_predictions, predict_shard
from learnloop.database.engine import session
from learnloop.datasets.batch import register_batch
from learnloop.datasets.contents import annotations_of
from learnloop.datasets.pool_merge import merge_confirmed
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.validate import validate_folder
from learnloop.errors import InvalidDataset
from learnloop.jobs.contract import Job, JobResult, Places, prepare, read_result
from learnloop.jobs.spec import JobSpec
from learnloop.loop.rounds import consumed, due_rounds, start_round
from learnloop.models.deployment import deploy, wait_until_served
from learnloop.models.gate import decide
from learnloop.serving.client import ModelClient
from learnloop.serving.server import ModelServer
from learnloop.training.evaluate import evaluate
from learnloop.training.models import load
from learnloop.training.train import train

TABLES = ("dataset.yaml", "annotations.parquet", "features.parquet")


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ModelServer]:
    """Serves ``tmp_path/models/{version}``."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    made = ModelServer(
        host="127.0.0.1",
        port=port,
        database_url=database_url,
        source_of=lambda name, version: tmp_path / "models" / str(version),
        load=load,
    )
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join()


def run_job(folder: Path, work: Callable[[Job], None], inputs: dict[str, Path], **params: Any) -> JobResult:
    spec = JobSpec(module="x", user="ann", params=params, idempotency_key=folder.name)
    places = Places.of(folder, spec)
    prepare(places, spec)
    for name, source in inputs.items():
        (places.data / name).symlink_to(source)
    work(Job(places))
    result = read_result(places)
    assert result is not None
    return result


def serve(database_url: str, dataset_id: int, name: str, model: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(model)
    with session(database_url) as db:
        row = deploy(db, dataset_id=dataset_id, model_name=name, alias="current", version=int(place.name), owner="ann")
        wanted = (row.id, row.generation)
    wait_until_served(partial(session, database_url), *wanted, timeout=30)


@pytest.mark.parametrize(
    ("data", "trainer"),
    [
        (learning_sets.wine, {"name": "boosting"}),
        (learning_sets.docstrings, {"name": "logistic", "hidden": [32]}),
    ],
    ids=["rows", "texts"],
)
def test_the_whole_loop(db: Session, database_url: str, server: ModelServer, tmp_path: Path, data, trainer) -> None:
    store, made = Store(tmp_path / "store"), data()
    folder = made.write(tmp_path / "dataset", range(70), test=40)
    validate_folder(folder).raise_if_wrong()
    base = preprocess(db, store, snapshot(db, store, folder, owner="ann"), owner="ann")
    dataset = base.dataset
    db.commit()
    store.checkout(store.read_tree(base.tree), tmp_path / "staged-0", include=TABLES)
    first = run_job(tmp_path / "train-0", train, {"dataset": tmp_path / "staged-0"}, **trainer)
    assert first.result["labels"] == 30
    model = first.path("models/model")
    alone = run_job(tmp_path / "evaluate-0", evaluate, {"dataset": tmp_path / "staged-0", "candidate": model}).result
    assert decide(alone, min_gain=0, max_class_drop=0.1).accepted
    serve(database_url, dataset.id, made.name, model, tmp_path / "models" / "1")

    batch = register_batch(
        db, store, dataset, made.write_files(tmp_path / "new", range(70, 150)), name="new", owner="ann"
    )
    pin = {"dataset": made.name, "batch_id": batch.id, "tree": batch.tree, "model_name": made.name, "model_version": 1}
    with ModelClient(server.url) as client:
        shard = {**pin, "kind": "batch", "start": 0, "stop": 80, "committee": []}
        predict_shard(db, store, client, shard, tmp_path / "predictions")
    run = choose_from_predictions(db, store, pin, tmp_path / "predictions", run_id="r", owner="ann")
    assert (run.scored, run.chosen) == (80, 20)
    db.commit()

    for _ in range(20):
        task = claim(db, dataset.id, "ben", lease_seconds=60)
        assert task is not None
        row = int(task.sample_id.removeprefix("s"))
        assert store.read(task.object) == made.samples[row]  # what the page shows is the sample itself
        submit(db, task.id, "ben", made.labels[row])
    db.commit()
    (due,) = due_rounds(db)
    started = start_round(db, due.run_id)
    version = merge_confirmed(
        db, store, dataset, consumed(db, started), base=base, owner="ann", message="", run_id=due.run_id
    )
    db.commit()
    splits = annotations_of(store, version)["split"].to_pylist()
    assert (splits.count("test"), splits.count("train")) == (40, 50)

    store.checkout(store.read_tree(version.tree), tmp_path / "staged-1", include=TABLES)
    staged = tmp_path / "staged-1"
    second = run_job(tmp_path / "train-1", train, {"dataset": staged, "parent": model}, **trainer)
    assert second.result["labels"] == 50
    assert second.result["metrics"]["start"].startswith("cold" if trainer["name"] == "boosting" else "warm")
    both = run_job(
        tmp_path / "evaluate-1",
        evaluate,
        {"dataset": staged, "candidate": second.path("models/model"), "current": model},
    ).result
    assert both["current"]["accuracy"] == alone["candidate"]["accuracy"]  # the test split is the same
    assert both["candidate"]["accuracy"] > 0.6
    assert decide(both, min_gain=-0.1, max_class_drop=0.5).accepted


def test_what_is_wrong_with_a_text_or_a_row_is_named_with_its_sample(tmp_path: Path) -> None:
    texts = learning_sets.docstrings().write(tmp_path / "texts", range(6))
    (texts / "samples" / "s0001.txt").write_bytes(b"caf\xe9")
    (texts / "samples" / "s0002.txt").write_bytes(b" \n")
    assert validate_folder(texts).problems == [
        "sample 's0001': samples/s0001.txt is not UTF-8 text (byte 3): save it as UTF-8",
        "sample 's0002': samples/s0002.txt is empty: a text sample needs some text",
    ]
    rows = learning_sets.wine().write(tmp_path / "rows", range(6))
    (rows / "samples" / "s0001.json").write_text('{"alcohol": NaN}')
    (rows / "samples" / "s0003.json").write_text("[1]")
    whole = (rows / "samples" / "s0004.json").read_text()
    (rows / "samples" / "s0004.json").write_text(whole.replace('"alcohol"', '"spirit"'))
    found = validate_folder(rows).problems
    assert len(found) == 3
    assert "sample 's0001': samples/s0001.json is not a JSON object of columns: NaN is no number" in found[0]
    assert "must hold a JSON object" in found[1]
    assert "column 'spirit' is not one of" in found[2]
    assert "missing: alcohol (list under optional what may be)" in found[2]


def test_a_batch_whose_rows_have_another_schema_is_refused(db: Session, tmp_path: Path) -> None:
    store, wine = Store(tmp_path / "store"), learning_sets.wine()
    base = preprocess(
        db, store, snapshot(db, store, wine.write(tmp_path / "d", range(30), test=10), owner="a"), owner="a"
    )
    new = wine.write_files(tmp_path / "new", range(30, 32))
    (new / "s0031.json").write_text('{"colour": "red"}')
    with pytest.raises(InvalidDataset, match="column 'colour' is not one of alcalinity_of_ash, alcohol"):
        register_batch(db, store, base.dataset, new, owner="a")
    assert pq.read_table(tmp_path / "d" / "annotations.parquet").num_rows == 30
