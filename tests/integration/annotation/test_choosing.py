"""Strategies that need more than a model's predictions: of other models, of features, of what is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from predictions import chooser, rows, write
from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.committee import members
from learnloop.annotation.queue import claim
from learnloop.annotation.shards import Shards
from learnloop.annotation.strategies import STRATEGIES, choose, find, vote_entropy
from learnloop.database import AnnotationTask, Dataset, DatasetVersion, Round, session
from learnloop.datasets.schema import QueryConfig
from learnloop.errors import InvalidInput
from learnloop.loop.rounds import lock

SAMPLES = 60


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(tasks=0, gold=0)


def chosen(db: Session) -> list[int]:
    found = db.scalars(select(AnnotationTask).where(AnnotationTask.state == "open").order_by(AnnotationTask.id))
    return [int(task.sample_id[1:]) for task in found]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_from_parquet_comes_what_comes_from_memory(name: str, tmp_path, monkeypatch) -> None:
    """Read in parts smaller than a file, scored apart: the same scores as for an array in memory."""
    monkeypatch.setattr("learnloop.annotation.shards.ROWS", 4)
    given = rows(SAMPLES, committee=2)
    write(tmp_path, given)
    shards = Shards(tmp_path, ["cat", "dog", "eel"], find(name), np.random.default_rng(1))
    probabilities = np.asarray([row["probabilities"] for row in given], dtype=np.float32)
    committee = np.asarray([row["committee"] for row in given], dtype=np.float32).reshape(-1, 2, 3)
    scores = find(name).scores(probabilities, committee, np.random.default_rng(1))
    assert shards.scores.tolist() == scores.tolist()
    assert shards.mean_confidence == pytest.approx(probabilities.max(axis=1).mean())
    some = np.asarray([59, 0, 12, 11, 31])
    assert shards.rows(some, ["sample_id"])["sample_id"].to_pylist() == [f"n{n}" for n in some]
    assert shards.features(some).tolist() == np.asarray([given[n]["features"] for n in some], np.float32).tolist()


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_makes_tasks(db, dataset, tmp_path, name: str) -> None:
    write(tmp_path / "p", rows(SAMPLES, committee=2))
    done = chooser(db, dataset, tmp_path / "p", SAMPLES)(strategy=name, budget=7, random_share=0.3)
    assert (done.strategy, done.chosen) == (name, 7)
    assert len(set(chosen(db))) == 7


def test_a_committees_votes_decide_and_are_recorded(db, dataset, tmp_path) -> None:
    given = rows(SAMPLES, committee=3)
    write(tmp_path / "p", given)
    run = chooser(db, dataset, tmp_path / "p", SAMPLES)
    done = run(strategy="vote_entropy", committee=[7, 5, 4], budget=SAMPLES)
    assert done.summary["committee"] == [7, 5, 4]
    entropies = vote_entropy(np.asarray([row["committee"] for row in given]).reshape(-1, 3, 3))[chosen(db)]
    assert (np.diff(entropies) < 1e-9).all()
    assert len(set(entropies.round(6))) == 3


def test_without_a_committee_a_model_votes_alone(db, dataset, tmp_path) -> None:
    given = rows(SAMPLES)
    write(tmp_path / "p", given)
    run = chooser(db, dataset, tmp_path / "p", SAMPLES)
    assert run(strategy="committee_divergence").summary["committee"] == [7]
    alone = chosen(db)
    run("r2", strategy="margin_sampling")
    assert chosen(db) == alone


@pytest.mark.parametrize(
    ("committee", "said"),
    [
        ([0.5, 0.5], "3 numbers a model, found 2"),
        ([], "3 numbers a model, found 0"),
        ([float("nan"), 0.5, 0.5], "committee's predictions must be finite"),
        ([0.5, 0.5, 0.5], "must sum to 1; those of row 0 sum to 1.5"),
    ],
)
def test_a_committees_bad_predictions_are_refused(db, dataset, tmp_path, committee, said: str) -> None:
    write(tmp_path / "p", [row | {"committee": committee} for row in rows(3)])
    run = chooser(db, dataset, tmp_path / "p", 3)
    with pytest.raises(InvalidInput, match=said):
        run(strategy="vote_entropy")
    assert run("r2", strategy="margin_sampling").chosen == 3  # who asks no committee does not look at it


def test_k_center_keeps_away_from_what_is_known_and_asked(db, dataset, tmp_path) -> None:
    given = [row | {"features": [float(n), 0.0]} for n, row in enumerate(rows(11))]
    write(tmp_path / "p", given)
    run = chooser(db, dataset, tmp_path / "p", 11)
    run(strategy="k_center", budget=1, known=np.asarray([[0.0, 0.0]], dtype=np.float32))
    assert chosen(db) == [10]
    submit(db, claim(db, dataset.id, "ben", lease_seconds=60).id, "ben", "cat")
    run("r2", strategy="k_center", budget=1, known=np.asarray([[0.0, 0.0]], dtype=np.float32))
    assert chosen(db) == [5]
    with pytest.raises(InvalidInput, match=r"\[samples, 2\]"):
        run("r3", strategy="k_center", budget=1, known=np.zeros((4, 3), dtype=np.float32))


def test_features_that_are_no_numbers_are_refused_by_name_of_the_folder(db, dataset, tmp_path) -> None:
    write(tmp_path / "p", [row | {"features": [float("nan")]} for row in rows(20)])
    run = chooser(db, dataset, tmp_path / "p", 20)
    with pytest.raises(InvalidInput, match=r"p: features must be finite"):
        run(strategy="diverse_mini_batch", budget=2)


def test_a_large_file_is_not_in_memory_at_once(tmp_path, monkeypatch) -> None:
    """Of a file of 25 MB, in one row group, a few parts of 0.8 MB are in memory, and what is kept of its rows."""
    monkeypatch.setattr("learnloop.annotation.shards.ROWS", 2048)
    n, classes = 60_000, 100
    flat = np.random.default_rng(0).random((n, classes), dtype=np.float32)
    flat /= flat.sum(axis=1, keepdims=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), classes).cast(pa.list_(pa.float32()))
    table = pa.table({"sample_id": [f"s{row}" for row in range(n)], "probabilities": column})
    pq.write_table(table, tmp_path / "batch-0.parquet", use_dictionary=False)
    whole = table.nbytes
    del table, column
    before = pa.default_memory_pool()
    pool = pa.system_memory_pool() if before.backend_name != "system" else pa.jemalloc_memory_pool()
    pa.set_memory_pool(pool)
    try:
        shards = Shards(tmp_path, [str(n) for n in range(classes)], find("margin_sampling"), np.random.default_rng(0))
    finally:
        pa.set_memory_pool(before)
    assert len(shards) == n
    assert pool.max_memory() < whole / 4


def test_the_committee_is_the_current_model_and_those_accepted_before_it(db, dataset) -> None:
    query = QueryConfig(strategy="vote_entropy", committee=3)

    def who(**changes: object) -> list[int]:
        return members(db, dataset, query.model_copy(update=changes), model_name="pets", current=9)

    assert who() == [9]
    versions = {
        major: DatasetVersion(
            dataset_id=dataset.id, name=f"pets_v{major}.0", major=major, minor=0, tree="0" * 32 + ".dir", files=1,
            bytes=1, owner="ada",
        )
        for major in (1, 2)
    }  # fmt: skip
    db.add_all(versions.values())
    db.flush()
    dataset.head_id = versions[2].id
    db.flush()
    for number, (state, model, major) in enumerate(
        [("accepted", 2, 1), ("accepted", 4, 2), ("accepted", 5, 2), ("rejected", 6, 2), ("accepted", 9, 2)]
    ):
        row = Round(
            dataset_id=dataset.id, number=number, state=state, model_name="pets", model_version=model, owner="a"
        )
        row.version_id = versions[major].id
        db.add(row)
    db.flush()
    db.refresh(dataset)
    assert who() == [9, 5, 4]
    assert who(committee=2) == [9, 5]
    assert who(committee=10) == [9, 5, 4]  # not 2: it knows the classes of another schema
    assert who(strategy="margin_sampling") == []


def test_predictions_are_read_before_the_lock_that_answers_need(
    db, dataset, tmp_path, database_url, monkeypatch
) -> None:
    write(tmp_path / "p", rows(SAMPLES))
    read = Shards.__init__

    def read_while_somebody_locks(self: Shards, *given: object) -> None:
        with session(database_url) as other:
            lock(other, other.get_one(Dataset, dataset.id))  # waits for ever if choosing holds it already
        read(self, *given)

    run = chooser(db, dataset, tmp_path / "p", SAMPLES)
    monkeypatch.setattr(Shards, "__init__", read_while_somebody_locks)
    assert run().chosen == 5


def test_a_run_that_is_done_needs_its_predictions_no_more(db, dataset, tmp_path) -> None:
    write(tmp_path / "p", rows(SAMPLES))
    run = chooser(db, dataset, tmp_path / "p", SAMPLES)
    assert run(predictions=tmp_path / "p").id == run(predictions=tmp_path / "gone").id


def test_choosing_in_memory_agrees_with_choosing_from_parquet(db, dataset, tmp_path) -> None:
    given = rows(SAMPLES)
    write(tmp_path / "p", given)
    chooser(db, dataset, tmp_path / "p", SAMPLES)(strategy="entropy_sampling", budget=9)
    probabilities = np.asarray([row["probabilities"] for row in given], dtype=np.float32)
    assert chosen(db) == choose("entropy_sampling", probabilities, None, 9, np.random.default_rng(0)).tolist()
