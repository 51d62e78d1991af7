"""Two people meet over one sample: whoever is second sees what the first did, and nothing is lost or counted twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from learnloop.annotation.adjudication import adjudicate
from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.annotation.reviews import request
from learnloop.annotation.undo import undo
from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, Dataset, Review, session
from learnloop.errors import Conflict, LearnloopError, PermissionDenied

LEASE = 300
TIMES = 12
"""Each race is run so often: which of the two is first is the scheduler's to say."""


def race(url: str, *contenders: Callable[[object], object]) -> list[object]:
    """What each returned, or the error it ended with; each in a transaction of its own, all at one moment."""
    together = threading.Barrier(len(contenders))

    def run(contender: Callable[[object], object]) -> object:
        with session(url) as mine:
            mine.execute(select(1))  # connected before the start
            together.wait(10)
            try:
                return contender(mine)
            except LearnloopError as error:
                mine.rollback()
                return error

    with ThreadPoolExecutor(len(contenders)) as threads:
        return list(threads.map(run, contenders))


def in_pool(db) -> list[str]:
    db.rollback()
    return list(db.scalars(select(ConfirmedAnnotation.label).order_by(ConfirmedAnnotation.id)))


def take(db, dataset, who: str) -> AnnotationTask:
    task = claim(db, dataset.id, who, lease_seconds=LEASE)
    db.commit()
    return task


@pytest.mark.parametrize("time", range(TIMES))
def test_two_reviewers(db, make_dataset, database_url, time) -> None:
    dataset = make_dataset(tasks=1, gold=0, overlap=2, most_opinions=2)
    for who, label in (("ann", "cat"), ("bob", "dog")):
        submit(db, take(db, dataset, who).id, who, label)
    review = db.scalars(select(Review.id)).one()
    db.commit()
    results = race(
        database_url,
        lambda mine: adjudicate(mine, review, "rita", "confirm", label="cat").label,
        lambda mine: adjudicate(mine, review, "ron", "confirm", label="dog").label,
    )
    (won,) = [result for result in results if isinstance(result, str)]
    (lost,) = [result for result in results if isinstance(result, Conflict)]
    assert f"chose confirm {won}" in str(lost)
    assert in_pool(db) == [won]


@pytest.mark.parametrize("time", range(TIMES))
def test_two_corrections_of_one_label_follow_each_other(db, make_dataset, database_url, time) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    submit(db, take(db, dataset, "ann").id, "ann", "cat")
    db.commit()

    def correct(who: str, label: str) -> Callable[[object], str]:
        def do(mine) -> str:
            review = request(mine, mine.get_one(Dataset, dataset.id), "s0", reason="", by=who)
            return adjudicate(mine, review.id, who, "confirm", label=label, reason="sure").label

        return do

    results = race(database_url, correct("rita", "dog"), correct("ron", "eel"))
    done = [result for result in results if isinstance(result, str)]
    assert done
    assert all(isinstance(result, (str, Conflict)) for result in results)
    found = in_pool(db)
    assert found[0] == "cat"
    assert Counter(found[1:]) == Counter(done)
    superseded = list(db.scalars(select(ConfirmedAnnotation.supersedes_id).order_by(ConfirmedAnnotation.id)))
    ids = list(db.scalars(select(ConfirmedAnnotation.id).order_by(ConfirmedAnnotation.id)))
    assert superseded == [None, *ids[:-1]]  # one chain


@pytest.mark.parametrize("time", range(TIMES))
def test_a_reviewer_decides_while_an_annotator_answers(db, make_dataset, database_url, time) -> None:
    """Bob's answer is the one that makes the review, which the reviewer is looking for already."""
    dataset = make_dataset(tasks=1, gold=0, overlap=2, most_opinions=2)
    submit(db, take(db, dataset, "ann").id, "ann", "cat")
    task = take(db, dataset, "bob")

    def decide(mine) -> object:
        for _ in range(2000):
            waiting = mine.scalars(select(Review.id).where(Review.decision.is_(None))).first()
            if waiting is not None:
                return adjudicate(mine, waiting, "rita", "confirm", label="dog").label
        return None

    answered, decided = race(database_url, lambda mine: submit(mine, task.id, "bob", "dog").outcome, decide)
    assert isinstance(answered, str)
    assert in_pool(db) == ([] if decided is None else ["dog"])
    counted = select(func.count()).select_from(Annotation).where(Annotation.review_id.is_(None))
    assert db.scalar(counted) == 2  # both answers are kept


@pytest.mark.parametrize("time", range(TIMES))
def test_an_undo_meets_the_second_opinion(db, make_dataset, database_url, time) -> None:
    """Ann takes back what Bob is just agreeing to: it is confirmed, or taken back, and never both."""
    dataset = make_dataset(tasks=1, gold=0, overlap=2)
    submit(db, take(db, dataset, "ann").id, "ann", "cat")
    task = take(db, dataset, "bob")

    def back(mine) -> str:
        undo(mine, mine.get_one(Dataset, dataset.id), "ann", lease_seconds=LEASE)
        return "taken back"

    undone, answered = race(database_url, back, lambda mine: submit(mine, task.id, "bob", "cat").outcome)
    assert isinstance(answered, str)
    if undone == "taken back":
        assert in_pool(db) == []
        assert db.scalars(select(Annotation.outcome).order_by(Annotation.id)).all() == ["withdrawn", "pending"]
        again = take(db, dataset, "ann")
        submit(db, again.id, "ann", "cat")
        db.commit()
    else:
        assert isinstance(undone, Conflict)
    assert in_pool(db) == ["cat"]


@pytest.mark.parametrize("time", range(TIMES))
def test_an_undo_meets_the_gold_task_that_closes_the_lot(db, make_dataset, database_url, time) -> None:
    """Two tabs of one person: one answers the gold task, the other takes the last answer back."""
    dataset = make_dataset(tasks=3, gold_every=2)
    for _ in range(2):
        submit(db, take(db, dataset, "ben").id, "ben", "dog")
    gold = take(db, dataset, "ben")
    assert gold.kind == "gold"

    def back(mine) -> int:
        return undo(mine, mine.get_one(Dataset, dataset.id), "ben", lease_seconds=LEASE).id

    undone, answered = race(database_url, back, lambda mine: submit(mine, gold.id, "ben", "cat").outcome)
    found = in_pool(db)
    if undone == gold.id:  # the gold answer was first, and is what was taken back
        assert (answered, found) == ("gold_right", ["dog", "dog"])
    else:  # the gold task went back, as any other in hand does, and comes again
        assert isinstance(answered, PermissionDenied)
        assert found == []
        submit(db, undone, "ben", "eel")
        while (task := claim(db, dataset.id, "ben", lease_seconds=LEASE)) is not None:
            submit(db, task.id, "ben", "cat")
        db.commit()
        assert sorted(in_pool(db)) == ["cat", "dog", "eel"]


def test_a_crowd_with_overlap_second_thoughts_and_reviewers(db, append_only, make_dataset, database_url) -> None:
    """Eight people answer, take back, and differ, while two review: every sample has one label in force, each person
    answered it once, and no more were asked than the policy says.
    """
    dataset = make_dataset(tasks=40, gold=4, gold_every=5, overlap=3, most_opinions=4)

    def annotate(number: int) -> None:
        who, done = f"person-{number}", 0
        while True:
            with session(database_url) as mine:
                task = claim(mine, dataset.id, who, lease_seconds=LEASE)
                if task is None:
                    return
                key, gold, sample = task.id, task.kind == "gold", task.sample_id
            label = "cat" if gold else ("cat", "dog", "eel")[(int(sample[1:]) + (number % 4 == 0)) % 3]
            with session(database_url) as mine:
                submit(mine, key, who, label, seconds=1.0)
            done += 1
            if done % 4 == 0:
                try:
                    with session(database_url) as mine:
                        undo(mine, mine.get_one(Dataset, dataset.id), who, lease_seconds=LEASE)
                except Conflict:
                    pass  # it was confirmed meanwhile

    def review(who: str) -> None:
        while not over.is_set():
            with session(database_url) as mine:
                waiting = mine.scalars(select(Review.id).where(Review.decision.is_(None))).all()
            for key in waiting:
                try:
                    with session(database_url) as mine:
                        adjudicate(mine, key, who, "confirm", label="eel", reason="as far as I can see")
                except Conflict:
                    pass  # the other one was first
            over.wait(0.02)

    over = threading.Event()
    with ThreadPoolExecutor(10) as threads:
        reviewing = [threads.submit(review, who) for who in ("rita", "ron")]
        try:
            list(threads.map(annotate, range(8)))
            # Who found nothing left went home; what was reopened after that is for whoever looks in again.
            for number in range(8):
                annotate(number)
        finally:
            over.set()
        for one in reviewing:
            one.result(30)
    for review_id in db.scalars(select(Review.id).where(Review.decision.is_(None))).all():
        adjudicate(db, review_id, "rita", "confirm", label="eel", reason="the last ones")
    db.commit()
    confirmed = db.scalars(select(ConfirmedAnnotation.sample_id)).all()
    assert sorted(confirmed) == sorted(f"s{n}" for n in range(40))
    assert sorted(db.scalars(select(ConfirmedAnnotation.number))) == list(range(1, 41))
    live = db.execute(
        select(Annotation.task_id, Annotation.owner)
        .join(AnnotationTask, AnnotationTask.id == Annotation.task_id)
        .where(Annotation.withdrawn_at.is_(None), Annotation.review_id.is_(None), AnnotationTask.kind == "label")
    ).all()
    assert len(live) == len(set(live))
    each = Counter(task for task, _ in live)
    assert set(each.values()) <= {3, 4}
    assert db.scalar(select(func.count()).select_from(Annotation).where(Annotation.outcome == "withdrawn")) > 0
