"""Claims, leases, lots, second opinions; and that nothing is lost or counted twice when everybody hurries."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim, release_lapsed, renew, skip
from learnloop.database import (
    Annotation,
    AnnotationTask,
    ConfirmedAnnotation,
    OutboxMessage,
    Round,
    RoundAnnotation,
    session,
)
from learnloop.errors import Conflict, Gone, InvalidInput, NotFound, PermissionDenied

LEASE = 300


def lapse(db: Session) -> None:
    db.execute(
        update(AnnotationTask)
        .where(AnnotationTask.state == "claimed")
        .values(lease_expires_at=func.now() - func.make_interval(0, 0, 0, 0, 0, 1))
    )


def pool(db: Session) -> list[tuple[str, str]]:
    return [tuple(row) for row in db.execute(select(ConfirmedAnnotation.sample_id, ConfirmedAnnotation.label))]


def answer_all(db: Session, dataset_id: int, who: str, label: str, gold: str = "cat") -> list[AnnotationTask]:
    done = []
    while (task := claim(db, dataset_id, who, lease_seconds=LEASE)) is not None:
        submit(db, task.id, who, gold if task.kind == "gold" else label)
        done.append(task)
    return done


def test_claiming_again_gives_the_task_one_holds(db, make_dataset) -> None:
    dataset = make_dataset()
    first = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE) is first
    assert claim(db, dataset.id, "eva", lease_seconds=LEASE) is not first


def test_a_right_gold_answer_confirms_the_lot(db, make_dataset) -> None:
    dataset = make_dataset(tasks=3, gold_every=3)
    done = answer_all(db, dataset.id, "ben", "dog")
    assert [task.kind for task in done] == ["label", "label", "label", "gold"]
    assert sorted(pool(db)) == [("s0", "dog"), ("s1", "dog"), ("s2", "dog")]


def test_a_gold_task_closes_the_lot_when_nothing_is_left(db, make_dataset) -> None:
    dataset = make_dataset(tasks=2, gold_every=10)
    assert [task.kind for task in answer_all(db, dataset.id, "ben", "dog")] == ["label", "label", "gold"]
    assert len(pool(db)) == 2


def test_a_wrong_gold_answer_sends_the_lot_to_somebody_else(db, make_dataset) -> None:
    dataset = make_dataset(tasks=2, gold_every=2)
    answer_all(db, dataset.id, "ben", "dog", gold="eel")
    assert pool(db) == []
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE) is None  # never the same person twice
    task = claim(db, dataset.id, "eva", lease_seconds=LEASE)
    submit(db, task.id, "eva", "dog")  # two agree
    assert pool(db) == [(task.sample_id, "dog")]
    other = claim(db, dataset.id, "eva", lease_seconds=LEASE)
    submit(db, other.id, "eva", "eel")  # they differ: eva's own gold task decides
    gold = claim(db, dataset.id, "eva", lease_seconds=LEASE)
    assert gold.kind == "gold"
    submit(db, gold.id, "eva", "cat")
    assert (other.sample_id, "eel") in pool(db)
    outcomes = dict(
        db.execute(select(Annotation.task_id, Annotation.outcome).where(Annotation.owner == "ben")).tuples().all()
    )
    assert outcomes[task.id] == "confirmed"
    assert outcomes[other.id] == "rejected"


def test_without_gold_questions_an_answer_is_confirmed_at_once(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    task = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    submit(db, task.id, "ben", "eel")
    assert pool(db) == [("s0", "eel")]


def test_the_same_answer_twice_is_one(db, make_dataset) -> None:
    dataset = make_dataset(gold=0)
    task = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    assert submit(db, task.id, "ben", "cat") is submit(db, task.id, "ben", "cat")
    with pytest.raises(Conflict, match="first answer stands"):
        submit(db, task.id, "ben", "dog")
    assert len(pool(db)) == 1


def test_a_lapsed_lease_loses_no_answer_unless_somebody_took_the_task(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    task = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    lapse(db)
    assert release_lapsed(db) == 1
    submit(db, task.id, "ben", "cat")
    assert pool(db) == [("s0", "cat")]

    second = make_dataset(tasks=1, gold=0, name="others")
    task = claim(db, second.id, "ben", lease_seconds=LEASE)
    lapse(db)
    assert claim(db, second.id, "eva", lease_seconds=LEASE).id == task.id
    with pytest.raises(PermissionDenied, match="eva"):
        submit(db, task.id, "ben", "cat")
    with pytest.raises(PermissionDenied):
        renew(db, task.id, "ben")


@pytest.mark.parametrize("label", ["", "bird", "cat'; DROP TABLE annotations; --"])
def test_an_unknown_label_is_refused_and_nothing_changes(db, make_dataset, label: str) -> None:
    dataset = make_dataset()
    task = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    with pytest.raises(InvalidInput, match="cat, dog, eel"):
        submit(db, task.id, "ben", label)
    assert task.state == "claimed"
    assert db.scalar(select(func.count()).select_from(Annotation)) == 0


def test_a_task_that_does_not_exist(db, make_dataset) -> None:
    make_dataset()
    for number in (0, -1, 10**9, 2**40):
        with pytest.raises(NotFound):
            submit(db, number, "ben", "cat")


def test_a_skipped_task_goes_to_others_only(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1)
    task = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    skip(db, task.id, "ben", "too dark")
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE) is None
    assert claim(db, dataset.id, "eva", lease_seconds=LEASE).id == task.id
    with pytest.raises(PermissionDenied):
        skip(db, task.id, "ben", "again")


def test_renewing_what_went_back_is_told(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1)
    task = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    lapse(db)
    release_lapsed(db)
    with pytest.raises(Gone, match="claim again"):
        renew(db, task.id, "ben")


def test_eight_hurried_annotators(db, make_dataset, database_url) -> None:
    """Each task is held by one person and counted once; every threshold opens just one round, told of once."""
    dataset = make_dataset(tasks=200, gold=5, labels=50, gold_every=5)

    def work(who: str) -> list[int]:
        done = []
        while True:
            with session(database_url) as mine:
                task = claim(mine, dataset.id, who, lease_seconds=LEASE)
                if task is None:
                    return done
                key, gold = task.id, task.kind == "gold"
            for _ in range(2):  # everybody clicks twice
                with session(database_url) as mine:
                    submit(mine, key, who, "cat" if gold else "dog")
            if not gold:
                done.append(key)

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(work, [f"person-{n}" for n in range(8)]))
    answered = Counter(key for one in done for key in one)
    assert len(answered) == 200
    assert set(answered.values()) == {1}
    db.expire_all()
    assert len(pool(db)) == 200
    assert len({sample for sample, _ in pool(db)}) == 200
    rounds = db.scalars(select(Round)).all()
    assert len(rounds) == 1  # one is open; the rest of the labels wait for the next
    assert db.scalar(select(func.count()).select_from(OutboxMessage)) == 1
    taken = db.scalar(select(func.count()).select_from(RoundAnnotation))
    assert 50 <= taken < 50 + 5 * 8  # a lot is confirmed as a whole
