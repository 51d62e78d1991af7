"""Taking the last answer back: while nothing followed from it, and never twice."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim, skip
from learnloop.annotation.undo import undo
from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation
from learnloop.errors import Conflict, NotFound

LEASE = 300


def take(db, dataset, who: str) -> AnnotationTask:
    return claim(db, dataset.id, who, lease_seconds=LEASE)


def back(db, dataset, who: str) -> AnnotationTask | None:
    return undo(db, dataset, who, lease_seconds=LEASE)


def test_an_answer_is_taken_back_and_given_anew(db, make_dataset) -> None:
    dataset = make_dataset(tasks=3, gold_every=3)
    first = take(db, dataset, "ben")
    submit(db, first.id, "ben", "dog", comment="a dog?")
    following = take(db, dataset, "ben")
    assert back(db, dataset, "ben").id == first.id
    assert (following.state, following.claimed_by) == ("open", None)
    assert take(db, dataset, "ben").id == first.id  # it is in hand
    submit(db, first.id, "ben", "eel")
    rows = db.execute(select(Annotation.label, Annotation.outcome).order_by(Annotation.id))
    assert [tuple(row) for row in rows] == [("dog", "withdrawn"), ("eel", "pending")]  # nothing is forgotten


def test_a_taken_back_answer_never_enters_the_pool(db, make_dataset) -> None:
    dataset = make_dataset(tasks=2, gold_every=2)
    first = take(db, dataset, "ben")
    submit(db, first.id, "ben", "dog")
    back(db, dataset, "ben")
    submit(db, first.id, "ben", "eel")
    submit(db, take(db, dataset, "ben").id, "ben", "cat")
    gold = take(db, dataset, "ben")
    assert gold.kind == "gold"
    submit(db, gold.id, "ben", "cat")
    assert sorted(db.scalars(select(ConfirmedAnnotation.label))) == ["cat", "eel"]


def test_twice_is_once(db, make_dataset) -> None:
    dataset = make_dataset()
    one, two = take(db, dataset, "ben"), None
    submit(db, one.id, "ben", "dog")
    two = take(db, dataset, "ben")
    submit(db, two.id, "ben", "dog")
    assert back(db, dataset, "ben").id == two.id
    assert back(db, dataset, "ben").id == two.id
    assert db.scalar(select(func.count()).select_from(Annotation).where(Annotation.outcome == "withdrawn")) == 1


def test_a_skip_is_taken_back(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1)
    task = take(db, dataset, "ben")
    skip(db, task.id, "ben", "too dark")
    assert back(db, dataset, "ben").id == task.id
    submit(db, task.id, "ben", "cat")
    assert db.scalars(select(Annotation.outcome).order_by(Annotation.id)).all() == ["withdrawn", "pending"]


def test_a_skip_that_somebody_answered_since(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1)
    task = take(db, dataset, "ben")
    skip(db, task.id, "ben", "")
    submit(db, take(db, dataset, "eva").id, "eva", "cat")
    with pytest.raises(Conflict, match="somebody else has answered it since"):
        back(db, dataset, "ben")


def test_somebody_else_is_at_it_just_now(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0, overlap=2)
    task = take(db, dataset, "ben")
    submit(db, task.id, "ben", "dog")
    assert take(db, dataset, "eva").id == task.id
    assert back(db, dataset, "ben") is None
    assert (task.state, task.claimed_by) == ("claimed", "eva")
    submit(db, task.id, "eva", "cat")
    assert take(db, dataset, "ben").id == task.id  # and he is asked again
    submit(db, task.id, "ben", "cat")
    assert db.scalars(select(ConfirmedAnnotation.label)).all() == ["cat"]


@pytest.mark.parametrize("quality", [{"gold": 0}, {"check": "none"}])
def test_what_is_confirmed_cannot_be_taken_back(db, make_dataset, quality) -> None:
    dataset = make_dataset(**quality)
    submit(db, take(db, dataset, "ben").id, "ben", "dog")
    with pytest.raises(
        Conflict, match=r"s0\) can no longer be taken back: it was confirmed; a reviewer can correct it"
    ):
        back(db, dataset, "ben")
    assert db.scalars(select(ConfirmedAnnotation.label)).all() == ["dog"]


def test_what_a_reviewer_has_cannot_be_taken_back(db, make_dataset) -> None:
    dataset = make_dataset(check="review")
    submit(db, take(db, dataset, "ben").id, "ben", "dog")
    with pytest.raises(Conflict, match="a reviewer is asked about it"):
        back(db, dataset, "ben")


def test_nothing_to_take_back(db, make_dataset) -> None:
    dataset = make_dataset()
    with pytest.raises(NotFound, match="ben has answered nothing in pets"):
        back(db, dataset, "ben")


@pytest.mark.parametrize("first", ["cat", "eel"])
@pytest.mark.parametrize("second", ["cat", "eel"])
def test_a_gold_answer_is_taken_back_like_any_other_and_changes_nothing(db, make_dataset, first, second) -> None:
    """Else a person would learn which tasks are gold, and could try until they are right."""
    dataset = make_dataset(tasks=4, gold_every=2)
    for _ in range(2):
        submit(db, take(db, dataset, "ben").id, "ben", "dog")
    gold = take(db, dataset, "ben")
    submit(db, gold.id, "ben", first)
    confirmed = db.scalar(select(func.count()).select_from(ConfirmedAnnotation))
    assert confirmed == (2 if first == "cat" else 0)
    assert back(db, dataset, "ben").id == gold.id
    assert take(db, dataset, "ben").id == gold.id
    submit(db, gold.id, "ben", second)
    assert db.scalar(select(func.count()).select_from(ConfirmedAnnotation)) == confirmed
    following = take(db, dataset, "ben")
    assert following.kind == "label"


def test_a_skipped_gold_task_is_taken_back(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold_every=2)
    submit(db, take(db, dataset, "ben").id, "ben", "dog")
    gold = take(db, dataset, "ben")
    skip(db, gold.id, "ben", "hm")
    assert back(db, dataset, "ben").id == gold.id
    submit(db, gold.id, "ben", "cat")
    assert db.scalars(select(ConfirmedAnnotation.label)).all() == ["dog"]
