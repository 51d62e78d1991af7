"""What happens when two things meet: two tabs, a late answer, a new scoring run, a claim during a submit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim, release_lapsed, skip
from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, Dataset, session
from learnloop.errors import PermissionDenied
from learnloop.loop.rounds import lock

LEASE = 300


def lapse(db: Session, task: AnnotationTask) -> None:
    gone = func.now() - func.make_interval(0, 0, 0, 0, 0, 1)
    db.execute(update(AnnotationTask).where(AnnotationTask.id == task.id).values(lease_expires_at=gone))
    db.expire_all()


def gold_task(db: Session, dataset: Dataset, who: str) -> AnnotationTask:
    while (task := claim(db, dataset.id, who, lease_seconds=LEASE)).kind == "label":
        submit(db, task.id, who, "dog")
    return task


def test_two_tabs_of_one_person_get_the_same_task(db, make_dataset, database_url) -> None:
    dataset = make_dataset(tasks=20)
    together = threading.Barrier(6)

    def tab(_: int) -> int:
        together.wait()
        with session(database_url) as mine:
            return claim(mine, dataset.id, "ben", lease_seconds=LEASE).id

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(tab, range(6)))) == 1


def test_a_claim_during_a_late_submit_is_no_deadlock(db, make_dataset, database_url) -> None:
    """The submit has the dataset and wants the lapsed task; the claim has the task and inserts a gold one."""
    dataset = make_dataset(tasks=3, gold_every=2)
    late = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    for _ in range(2):
        submit(db, claim(db, dataset.id, "eva", lease_seconds=LEASE).id, "eva", "dog")
    lapse(db, late)
    db.commit()
    locked = threading.Event()
    claimed = threading.Event()

    def answer_late() -> str:
        with session(database_url) as mine:
            lock(mine, mine.get_one(Dataset, dataset.id))
            locked.set()
            claimed.wait(10)  # the claim's transaction is open now and holds the task
            return submit(mine, late.id, "ben", "cat").outcome

    with ThreadPoolExecutor(1) as thread:
        answered = thread.submit(answer_late)
        assert locked.wait(10)
        with session(database_url) as mine:
            assert claim(mine, dataset.id, "eva", lease_seconds=LEASE).kind == "gold"
            claimed.set()
        assert answered.result(10) == "pending"


def test_a_gold_task_waits_for_its_person_and_looks_no_different_when_late(db, make_dataset) -> None:
    dataset = make_dataset(tasks=3, gold_every=2)
    gold = gold_task(db, dataset, "ben")
    lapse(db, gold)
    assert release_lapsed(db) == 0
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE).id == gold.id
    lapse(db, gold)
    assert submit(db, gold.id, "ben", "cat").outcome == "gold_right"
    with pytest.raises(PermissionDenied):
        submit(db, gold_task(db, dataset, "eva").id, "ben", "cat")


def test_a_gold_task_does_not_give_itself_away(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1)
    db.execute(update(AnnotationTask).values(reason={"strategy": "margin_sampling", "rank": 4, "margin": 0.37}))
    gold = gold_task(db, dataset, "ben")
    assert set(gold.reason) == {"strategy", "rank", "margin"}
    assert gold.reason["margin"] == pytest.approx(1 - gold.prediction["uncertainty"])


def test_skipping_a_gold_task_only_brings_another(db, make_dataset) -> None:
    dataset = make_dataset(tasks=4, gold_every=2)
    first = gold_task(db, dataset, "ben")
    skip(db, first.id, "ben", "hm")
    second = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    assert second.kind == "gold"
    assert second.sample_id != first.sample_id


def test_a_task_is_answered_by_who_claimed_it(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    (task,) = db.scalars(select(AnnotationTask))
    with pytest.raises(PermissionDenied, match="claim a task first"):
        submit(db, task.id, "ben", "cat")
    claim(db, dataset.id, "ben", lease_seconds=LEASE)
    lapse(db, task)
    release_lapsed(db)
    with pytest.raises(PermissionDenied, match="claim a task first"):
        submit(db, task.id, "eva", "cat")
    submit(db, task.id, "ben", "cat")
    assert db.scalar(select(func.count()).select_from(ConfirmedAnnotation)) == 1


def test_a_third_opinion_settles_what_two_differ_on(db, make_dataset) -> None:
    """Ben and Eva both fail their gold tasks; Kim agrees with Ben."""
    dataset = make_dataset(tasks=1, gold_every=2)
    for who, label in (("ben", "dog"), ("eva", "eel")):
        task = claim(db, dataset.id, who, lease_seconds=LEASE)
        submit(db, task.id, who, label)
        submit(db, gold_task(db, dataset, who).id, who, "eel")
    submit(db, claim(db, dataset.id, "kim", lease_seconds=LEASE).id, "kim", "dog")
    rows = db.execute(select(Annotation.owner, Annotation.outcome).where(Annotation.task_id == task.id))
    assert {tuple(row) for row in rows} == {("ben", "confirmed"), ("eva", "rejected"), ("kim", "confirmed")}
    (confirmed,) = db.scalars(select(ConfirmedAnnotation))
    assert (confirmed.label, confirmed.confirmed_by) == ("dog", "two agree")
