"""Exactly one round a threshold, however many people confirm labels at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pool_rows import next_number
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.database import (
    Annotation,
    AnnotationTask,
    Batch,
    ConfirmedAnnotation,
    Dataset,
    DatasetVersion,
    OutboxMessage,
    Round,
    RoundAnnotation,
    session,
)
from learnloop.errors import Conflict, NotFound
from learnloop.loop.progress import MOST_OPEN, progress
from learnloop.loop.rounds import close_round, due_rounds, open_base_round, start_round

TREE = "0" * 32 + ".dir"


def make(db: Session, tasks: int, labels: int) -> Dataset:
    loop = {"classes": ["cat", "dog"], "policy": {"labels": labels}}
    made = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
    db.add(made)
    db.flush()
    batch = Batch(dataset_id=made.id, name="b", tree=TREE, samples=tasks, owner="ada")
    db.add(batch)
    db.flush()
    for n in range(tasks):
        task = AnnotationTask(dataset_id=made.id, batch_id=batch.id, sample_id=f"s{n}", path="x", object="0" * 32)
        task.owner = "ada"
        db.add(task)
    db.commit()
    return made


def test_eight_people_and_a_trainer_in_a_hurry(db, database_url) -> None:
    """Rounds run while people label; the trainer ends each in the transaction that opened it, so all are full."""
    dataset = make(db, tasks=160, labels=20)

    def work(who: str) -> int:
        done = 0
        while True:
            with session(database_url) as mine:
                task = claim(mine, dataset.id, who, lease_seconds=60)
            if task is None:
                return done
            with session(database_url) as mine:
                submit(mine, task.id, who, "cat")
                for due in due_rounds(mine):
                    start_round(mine, due.run_id).metrics = {"accepted": False}
                    close_round(mine, due.run_id)
            done += 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(work, [f"person-{n}" for n in range(8)])) == 160
    db.expire_all()
    assert db.scalar(select(func.count()).select_from(ConfirmedAnnotation)) == 160
    taken = db.execute(select(func.count()).select_from(RoundAnnotation).group_by(RoundAnnotation.round_id))
    assert [count for (count,) in taken] == [20] * 8
    assert [done.number for done in db.scalars(select(Round).order_by(Round.number))] == list(range(8))
    assert db.scalar(select(func.count()).select_from(OutboxMessage)) == 8


def test_a_correction_counts_once_and_as_it_is_now(db) -> None:
    dataset = make(db, tasks=2, labels=2)
    first = submit(db, claim(db, dataset.id, "ben", lease_seconds=60).id, "ben", "cat")
    old = db.scalars(select(ConfirmedAnnotation)).one()
    task = db.get_one(AnnotationTask, first.task_id)
    better = Annotation(dataset_id=dataset.id, task_id=task.id, label="dog", owner="rita", outcome="confirmed")
    db.add(better)
    db.flush()
    correction = ConfirmedAnnotation(
        dataset_id=dataset.id,
        batch_id=old.batch_id,
        annotation_id=better.id,
        sample_id=old.sample_id,
        label="dog",
        confirmed_by="corrected",
        number=next_number(dataset.id),
        supersedes_id=old.id,
        owner="rita",
    )
    db.add(correction)
    db.flush()
    assert progress(db, dataset).waiting == 1
    submit(db, claim(db, dataset.id, "ben", lease_seconds=60).id, "ben", "cat")
    taken = set(db.scalars(select(RoundAnnotation.confirmed_id)))
    assert correction.id in taken
    assert old.id not in taken
    assert len(taken) == 2


def test_progress_says_where_the_loop_is(db) -> None:
    dataset = make(db, tasks=4, labels=3)
    submit(db, claim(db, dataset.id, "ben", lease_seconds=60).id, "ben", "cat")
    now = progress(db, dataset, "ben")
    assert (now.confirmed, now.waiting, now.needed, now.open_tasks, now.answered_by_me) == (1, 1, 3, 3, 1)
    assert (now.reason, now.round, now.pending) == ("2 more labels needed", None, 0)
    assert progress(db, dataset, "eva").answered_by_me == 0
    for _ in range(2):
        submit(db, claim(db, dataset.id, "eva", lease_seconds=60).id, "eva", "cat")
    now = progress(db, dataset)
    assert now.round == {"number": 0, "state": "requested"}
    assert (now.confirmed, now.waiting) == (3, 0)


def test_open_tasks_are_counted_so_far_and_no_further(db, monkeypatch) -> None:
    dataset = make(db, tasks=0, labels=3)
    more = text(
        "INSERT INTO annotation_tasks"
        " (dataset_id, batch_id, kind, sample_id, path, object, prediction, reason, state, owner)"
        " SELECT :dataset, min(id), 'label', 's' || n, 'x', '0', '{}', '{}', 'open', 'ada'"
        " FROM batches, generate_series(1, :many) AS n GROUP BY n"
    )
    db.execute(more, {"dataset": dataset.id, "many": MOST_OPEN + 5})
    assert progress(db, dataset).open_tasks == MOST_OPEN


def test_a_base_run_that_is_tried_again(db) -> None:
    dataset = make(db, tasks=0, labels=3)
    version = DatasetVersion(
        dataset_id=dataset.id, name="pets_v1.0", major=1, minor=0, tree=TREE, files=1, bytes=1, owner="ada"
    )
    db.add(version)
    db.flush()
    first = open_base_round(db, version, run_id="a", owner="ada")
    assert open_base_round(db, version, run_id="a", owner="ada") is first
    assert close_round(db, "a") == "failed"
    second = open_base_round(db, version, run_id="b", owner="ada")
    with pytest.raises(Conflict, match="round 1 of pets is running"):
        open_base_round(db, version, run_id="a", owner="ada")
    assert (first.state, second.state) == ("failed", "running")
    close_round(db, "b")
    assert open_base_round(db, version, run_id="a", owner="ada").state == "running"
    db.flush()


@pytest.mark.parametrize("number", ["9" * 30, "\u00b2", "-1", ""])
def test_a_run_id_that_nobody_gave(db, number: str) -> None:
    make(db, tasks=0, labels=3)
    with pytest.raises(NotFound):
        start_round(db, f"round-pets-{number}")
