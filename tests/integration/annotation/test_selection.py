"""From Parquet shards to tasks: once a run, never about what is asked or known already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim, skip
from learnloop.annotation.selection import GoldCandidate, choose_tasks
from learnloop.annotation.strategies import margin
from learnloop.database import LIVE, AnnotationTask, Batch, GoldQuestion, ScoringRun
from learnloop.errors import InvalidInput, NotFound

CLASSES = ["cat", "dog", "eel"]
SAMPLES = 30


def write(folder: Path, start: int, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"batch-{start:09d}.parquet")


@pytest.fixture
def rows() -> list[dict[str, object]]:
    random = np.random.default_rng(0)
    return [
        {
            "sample_id": f"n{n}",
            "path": f"{n}.png",
            "object": f"{n:032x}",
            "probabilities": random.dirichlet(np.ones(3)).astype(np.float32).tolist(),
            "features": random.normal(size=4).astype(np.float32).tolist(),
        }
        for n in range(SAMPLES)
    ]


@pytest.fixture
def run(db: Session, make_dataset, rows, tmp_path: Path) -> Callable[..., ScoringRun]:
    """Chooses among ``rows``, in three shards."""
    dataset = make_dataset(tasks=0, gold=0)
    batch = db.scalars(select(Batch)).one()
    batch.samples = SAMPLES
    db.commit()

    def choose(run_id: str = "r1", **changes: object) -> ScoringRun:
        folder = tmp_path / "predictions"
        if not folder.exists():
            for start in range(0, SAMPLES, 11):
                write(folder, start, rows[start : start + 11])
        given = {
            "dataset": dataset,
            "batch": batch,
            "run_id": run_id,
            "model_name": "pets",
            "model_version": 7,
            "predictions": folder,
            "classes": CLASSES,
            "strategy": "margin_sampling",
            "budget": 5,
            "seed": 1,
            "owner": "ada",
        }
        return choose_tasks(db, **(given | changes))

    return choose


def tasks(db: Session, state: str = "open") -> list[AnnotationTask]:
    return list(db.scalars(select(AnnotationTask).where(AnnotationTask.state == state).order_by(AnnotationTask.id)))


def test_the_closest_margins_become_tasks_that_say_why(db, run, rows) -> None:
    done = run()
    assert (done.scored, done.chosen) == (SAMPLES, 5)
    margins = margin(np.asarray([row["probabilities"] for row in rows]))
    wanted = [rows[index] for index in np.argsort(margins)[:5]]
    for rank, (task, row) in enumerate(zip(tasks(db), wanted, strict=True)):
        assert (task.sample_id, task.path, task.object) == (row["sample_id"], row["path"], row["object"])
        assert task.reason["rank"] == rank
        assert task.reason["model_version"] == task.prediction["model_version"] == 7
        assert list(task.prediction["probabilities"].values()) == pytest.approx(row["probabilities"])
        assert task.prediction["label"] == CLASSES[int(np.argmax(row["probabilities"]))]


@pytest.mark.parametrize("strategy", ["random", "diverse_mini_batch"])
def test_a_retried_run_chooses_once_and_a_seed_decides(db, run, strategy: str) -> None:
    first = run(strategy=strategy)
    chosen = [task.sample_id for task in tasks(db)]
    assert run(strategy=strategy).id == first.id
    assert [task.sample_id for task in tasks(db)] == chosen
    run("r2", strategy=strategy)  # cancels and chooses the same again
    assert [task.sample_id for task in tasks(db)] == chosen


def test_a_new_run_takes_the_place_of_what_nobody_took(db, run) -> None:
    dataset = run(budget=6).dataset_id
    answered = claim(db, dataset, "ben", lease_seconds=60)
    submit(db, answered.id, "ben", "cat")
    skipped = claim(db, dataset, "ben", lease_seconds=60)
    skip(db, skipped.id, "ben", "too dark")
    held = claim(db, dataset, "ben", lease_seconds=60)
    again = run("r2", budget=6)
    assert again.summary["already_asked"] == 3
    assert len(tasks(db, "cancelled")) == 3
    live = [task.sample_id for state in ("open", "claimed", "confirmed") for task in tasks(db, state)]
    assert len(live) == len(set(live)) == 9
    assert (answered.state, skipped.state, held.state) == ("confirmed", "open", "claimed")
    submit(db, held.id, "ben", "cat")
    while (task := claim(db, dataset, "ben", lease_seconds=60)) is not None:
        assert task.sample_id != skipped.sample_id  # not asked again what one skipped, whatever is scored anew
        submit(db, task.id, "ben", "cat")


def test_questions_of_live_requests_stay_until_they_are_answered(db, run) -> None:
    files = db.scalars(select(Batch)).one()
    live = Batch(dataset_id=files.dataset_id, name="live-1-9", tree="1" * 32, samples=SAMPLES, owner="ada")
    live.provenance = {"kind": LIVE}
    db.add(live)
    db.flush()
    run("live-pets-live-1-9", batch=live)
    asked = {task.sample_id for task in tasks(db)}
    run("of files", strategy="random", seed=9)
    run("of files again", strategy="random", seed=10)
    assert {task.sample_id for task in tasks(db) if task.batch_id == live.id} == asked
    assert len(tasks(db, "cancelled")) == 5  # of the first run of files
    assert len({task.sample_id for task in tasks(db)}) == len(tasks(db)) == 10  # and nobody is asked twice
    while (task := claim(db, files.dataset_id, "ben", lease_seconds=60)) is not None:
        submit(db, task.id, "ben", "cat")
    run("of files once more", strategy="random", seed=11)
    assert not asked & {task.sample_id for task in tasks(db)}


def test_nothing_left_to_ask_is_a_result(db, run) -> None:
    assert run(budget=100).chosen == SAMPLES
    while (task := claim(db, tasks(db)[0].dataset_id, "ben", lease_seconds=60) if tasks(db) else None) is not None:
        submit(db, task.id, "ben", "cat")
    assert run("r2").chosen == 0
    db.scalars(select(Batch)).one().samples = 0
    empty = run("r3", predictions=Path("/nonexistent"))
    assert (empty.scored, empty.chosen) == (0, 0)


def test_gold_questions_are_kept_up_to_date(db, run) -> None:
    gold = GoldCandidate("g1", "g.png", "0" * 32, "dog", [0.1, 0.8, 0.1], [0.0] * 4)
    run(gold=[gold])
    run("r2", gold=[gold], model_version=8)
    (question,) = db.scalars(select(GoldQuestion))
    assert (question.label, question.prediction["model_version"]) == ("dog", 8)


def bad_rows(rows: list[dict[str, object]], fault: str) -> list[dict[str, object]]:
    changes: dict[str, dict[str, object]] = {
        "not finite": {"probabilities": [float("nan"), 0.5, 0.5]},
        "two classes": {"probabilities": [0.5, 0.5]},
        "no probabilities": {"probabilities": None},
        "ragged features": {"features": [1.0]},
        "twice": {"sample_id": "n1"},
    }
    return [rows[0] | changes[fault], *rows[1:]]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("not finite", "finite"),
        ("two classes", "3 numbers each"),
        ("no probabilities", "3 numbers each"),
        ("ragged features", "equally many"),
        ("twice", "more than once: n1"),
    ],
)
def test_bad_predictions_are_refused_and_nothing_is_chosen(db, run, rows, tmp_path, fault: str, said: str) -> None:
    folder = tmp_path / "bad"
    write(folder, 0, bad_rows(rows, fault))
    with pytest.raises(InvalidInput, match=said):
        run(predictions=folder, strategy="diverse_mini_batch", budget=SAMPLES - 1)
    db.rollback()
    assert db.scalar(select(func.count()).select_from(AnnotationTask)) == 0


def test_what_is_no_prediction_is_named(db, run, rows, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="has the batch been predicted"):
        run(predictions=tmp_path / "empty")
    (tmp_path / "empty" / "batch-0.parquet").write_bytes(b"not parquet")
    with pytest.raises(InvalidInput, match=r"batch-0\.parquet"):
        run(predictions=tmp_path / "empty")
    write(tmp_path / "lacks", 0, [{"sample_id": "n1"}])
    with pytest.raises(InvalidInput, match="probabilities"):
        run(predictions=tmp_path / "lacks")
    with pytest.raises(InvalidInput, match="diverse_mini_batch"):
        run(strategy="astrology")
    with pytest.raises(InvalidInput, match="unknown label"):
        run(gold=[GoldCandidate("g1", "g.png", "0" * 32, "bird", [1.0, 0.0, 0.0], [0.0])])
    with pytest.raises(InvalidInput, match="2 probabilities for 3 classes"):
        run(gold=[GoldCandidate("g1", "g.png", "0" * 32, "cat", [1.0, 0.0], [0.0])])
