"""The task to follow is leased in advance, beside the one in hand: two at most, gold as often as without, given back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim, release, skip
from learnloop.annotation.undo import undo
from learnloop.database import Annotation, AnnotationTask, session
from learnloop.errors import NotFound, PermissionDenied

LEASE = 300


def held(db: Session, who: str) -> list[int]:
    wanted = select(AnnotationTask.id).where(AnnotationTask.state == "claimed", AnnotationTask.claimed_by == who)
    return list(db.scalars(wanted.order_by(AnnotationTask.id)))


def lapse(db: Session, task: AnnotationTask) -> None:
    gone = func.now() - func.make_interval(0, 0, 0, 0, 0, 1)
    db.execute(update(AnnotationTask).where(AnnotationTask.id == task.id).values(lease_expires_at=gone))
    db.commit()
    db.expire_all()


def work_ahead(db: Session, dataset_id: int, who: str, answers: int) -> list[str]:
    """Answer as the page does: each time the next task is held before the answer is given. The kinds in their order."""
    kinds = []
    task = claim(db, dataset_id, who, lease_seconds=LEASE)
    while task is not None and len(kinds) < answers:
        following = claim(db, dataset_id, who, lease_seconds=LEASE, beside=task.id)
        assert len(held(db, who)) <= 2
        kinds.append(task.kind)
        submit(db, task.id, who, "cat")
        task = following or claim(db, dataset_id, who, lease_seconds=LEASE)
    return kinds


def work_plainly(db: Session, dataset_id: int, who: str, answers: int) -> list[str]:
    kinds = []
    while len(kinds) < answers and (task := claim(db, dataset_id, who, lease_seconds=LEASE)) is not None:
        kinds.append(task.kind)
        submit(db, task.id, who, "cat")
    return kinds


def test_the_one_to_follow_is_another_and_again_the_same(db, make_dataset) -> None:
    dataset = make_dataset()
    first = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    following = [claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=first.id).id for _ in range(3)]
    assert len(set(following)) == 1
    assert held(db, "ben") == [first.id, following[0]]
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE).id == first.id  # a reload of the page
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=following[0]).id == first.id


@pytest.mark.parametrize("every", [2, 3, 10])
def test_gold_comes_just_as_often_as_without(db, make_dataset, every) -> None:
    ahead = make_dataset(tasks=30, gold=5, gold_every=every)
    plain = make_dataset(tasks=30, gold=5, gold_every=every, name="plain")
    assert work_ahead(db, ahead.id, "ben", 25) == work_plainly(db, plain.id, "ben", 25)


def test_the_last_lot_is_closed_by_a_gold_task(db, make_dataset) -> None:
    dataset = make_dataset(tasks=4, gold=2)
    kinds = work_ahead(db, dataset.id, "ben", 20)
    assert kinds.count("label") == 4
    assert kinds[-1] == "gold"
    assert kinds.count("gold") <= 2
    assert db.scalars(select(Annotation.id).where(Annotation.outcome == "pending")).all() == []


def test_at_the_end_of_the_queue_a_gold_task_in_hand_looks_like_another(db, make_dataset) -> None:
    dataset = make_dataset(tasks=3, gold=3, gold_every=2)
    assert work_plainly(db, dataset.id, "ben", 3) == ["label", "label", "gold"]
    last = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    assert (last.kind, claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=last.id)) == ("label", None)
    submit(db, last.id, "ben", "cat")
    gold = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    assert (gold.kind, claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=gold.id)) == ("gold", None)


def test_a_gold_task_in_hand_brings_no_second_one(db, make_dataset) -> None:
    dataset = make_dataset(tasks=2, gold=3, gold_every=2)
    for _ in range(2):
        submit(db, claim(db, dataset.id, "ben", lease_seconds=LEASE).id, "ben", "cat")
    gold = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    assert gold.kind == "gold"
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=gold.id) is None


def test_a_task_that_one_does_not_hold_counts_as_none(db, make_dataset) -> None:
    dataset = make_dataset()
    others = claim(db, dataset.id, "eva", lease_seconds=LEASE)
    mine = claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=others.id)
    assert mine.id != others.id
    assert held(db, "ben") == [mine.id]
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=99_999).id == mine.id


def test_a_task_ahead_blocks_others_for_one_lease_at_most(db, make_dataset) -> None:
    dataset = make_dataset(tasks=2, gold=0)
    first = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    ahead = claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=first.id)
    assert claim(db, dataset.id, "eva", lease_seconds=LEASE) is None
    lapse(db, ahead)
    assert claim(db, dataset.id, "eva", lease_seconds=LEASE).id == ahead.id
    with pytest.raises(PermissionDenied, match="eva's"):
        submit(db, ahead.id, "ben", "cat")


def test_what_is_given_back_is_there_for_others_at_once(db, make_dataset) -> None:
    dataset = make_dataset(tasks=2, gold=0)
    first = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    ahead = claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=first.id)
    for _ in range(2):
        release(db, ahead.id, "ben")
    assert claim(db, dataset.id, "eva", lease_seconds=LEASE).id == ahead.id
    release(db, ahead.id, "ben")  # it is hers now
    assert held(db, "eva") == [ahead.id]
    assert held(db, "ben") == [first.id]
    with pytest.raises(NotFound, match="no task 99999"):
        release(db, 99_999, "ben")


def test_a_gold_task_that_is_given_back_is_its_persons_alone_and_comes_again(db, make_dataset) -> None:
    dataset = make_dataset(tasks=4, gold=2, gold_every=2)
    assert work_plainly(db, dataset.id, "ben", 2) == ["label", "label"]
    gold = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    assert gold.kind == "gold"
    release(db, gold.id, "ben")
    assert (gold.state, gold.claimed_by) == ("open", None)  # as any other would be
    others = []
    while (task := claim(db, dataset.id, "eva", lease_seconds=LEASE)) is not None:
        others.append(task.id)
        submit(db, task.id, "eva", "cat")
    assert gold.id not in others
    assert claim(db, dataset.id, "ben", lease_seconds=LEASE).id == gold.id
    submit(db, gold.id, "ben", "cat")
    assert gold.state == "confirmed"


def test_undo_gives_back_both(db, make_dataset) -> None:
    dataset = make_dataset(gold=0, check="gold")
    first = claim(db, dataset.id, "ben", lease_seconds=LEASE)
    second = claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=first.id)
    skip(db, first.id, "ben", "")
    claim(db, dataset.id, "ben", lease_seconds=LEASE, beside=second.id)
    assert undo(db, dataset, "ben", lease_seconds=LEASE).id == first.id
    assert held(db, "ben") == [first.id]


def test_tabs_that_ask_for_the_next_together_get_one(db, make_dataset, database_url) -> None:
    dataset = make_dataset(tasks=20)
    first = claim(db, dataset.id, "ben", lease_seconds=LEASE).id
    db.commit()
    together = threading.Barrier(6)

    def tab(_: int) -> int:
        together.wait()
        with session(database_url) as mine:
            return claim(mine, dataset.id, "ben", lease_seconds=LEASE, beside=first).id

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(tab, range(6)))) == 1
    assert len(held(db, "ben")) == 2


def test_many_who_work_ahead_answer_each_task_once(db, make_dataset, database_url) -> None:
    dataset = make_dataset(tasks=40, gold=0)

    def person(name: str) -> int:
        done, task = 0, None
        with session(database_url) as mine:
            task = claim(mine, dataset.id, name, lease_seconds=LEASE)
            task = None if task is None else task.id
        while task is not None:
            with session(database_url) as mine:
                ahead = claim(mine, dataset.id, name, lease_seconds=LEASE, beside=task)
                ahead = None if ahead is None else ahead.id
            with session(database_url) as mine:
                submit(mine, task, name, "dog")
            done, task = done + 1, ahead
        return done

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(person, [f"p{n}" for n in range(6)])) == 40
    assert len(db.scalars(select(Annotation.task_id).distinct()).all()) == 40
