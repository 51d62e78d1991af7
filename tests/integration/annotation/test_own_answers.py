"""What a person is told of their own answers: why they were rejected, and nothing that shows which tasks are gold."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from learnloop.annotation.adjudication import adjudicate
from learnloop.annotation.answers import submit
from learnloop.annotation.own_answers import OWN, parameters, told
from learnloop.annotation.quality.people import GOLD_STEP
from learnloop.annotation.queue import claim
from learnloop.annotation.reviews import request
from learnloop.database import AnnotationTask, Review


def take(db, dataset, who: str) -> AnnotationTask:
    return claim(db, dataset.id, who, lease_seconds=300)


def own(db, dataset, who: str) -> list[dict]:
    rows = db.execute(OWN.order_by(None), parameters(db, dataset.id, who)).mappings()
    return sorted((told(dict(row)) for row in rows), key=lambda row: row["id"])


def open_review(db) -> Review:
    return db.scalars(select(Review).where(Review.decision.is_(None))).one()


def test_nobody_reads_a_gold_task_from_what_became_of_their_answers(db, make_dataset) -> None:
    """Nothing is told before the fifth gold task; then of all before it, the gold ones as any confirmed answer."""
    dataset = make_dataset(tasks=200, gold=12, gold_every=2)
    tasks, lots, golds = [], [], 0
    while golds < 2 * GOLD_STEP:
        task = take(db, dataset, "ben")
        submit(db, task.id, "ben", "cat", seconds=1.0)
        golds += task.kind == "gold"
        tasks.append((task.sample_id, task.kind))
        found = own(db, dataset, "ben")
        if not lots or found != lots[-1][1]:
            lots.append((golds, found))
    assert [golds for golds, _ in lots] == [0, GOLD_STEP, 2 * GOLD_STEP]
    assert lots[0][1] == []
    for _, listed in lots[1:]:
        assert {(row["outcome"], row["reason"], row["instead"]) for row in listed} == {("confirmed", "", None)}
    listed = [row["sample_id"] for row in lots[-1][1]]
    left_out = [kind for sample, kind in tasks[:-1] if sample not in listed]
    assert "gold" in {kind for sample, kind in tasks if sample in listed}
    assert "label" in left_out  # so that what is left out need not be gold
    assert tasks[-1][1] == "gold"  # the lot ends with it: it is not told yet
    assert tasks[-1][0] not in listed


def test_a_gold_task_that_was_answered_wrongly_is_not_listed(db, make_dataset) -> None:
    dataset = make_dataset(tasks=200, gold=12, gold_every=2)
    wrong, golds = [], 0
    while golds < GOLD_STEP:
        task = take(db, dataset, "ben")
        submit(db, task.id, "ben", "dog", seconds=1.0)
        if task.kind == "gold":
            golds += 1
            wrong.append(task.sample_id)
    assert not set(wrong) & {row["sample_id"] for row in own(db, dataset, "ben")}


def test_why_an_answer_was_rejected_is_told_without_the_names_of_others_who_answered(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0, overlap=3, agreement=0.6, most_opinions=3)
    for who, label in (("ann", "dog"), ("bob", "cat"), ("cid", "cat")):
        submit(db, take(db, dataset, who).id, who, label)
    (mine,) = own(db, dataset, "ann")
    assert (mine["outcome"], mine["label"], mine["instead"], mine["reason"]) == (
        "rejected",
        "dog",
        "cat",
        "2 of 3 agree",
    )
    assert [row["outcome"] for row in own(db, dataset, "cid")] == ["confirmed"]


@pytest.fixture
def differing(db, make_dataset):
    dataset = make_dataset(tasks=1, gold=0, overlap=2, most_opinions=2)
    for who, label in (("ann", "cat"), ("bob", "dog")):
        submit(db, take(db, dataset, who).id, who, label)
    return dataset


def test_a_reviewers_words_reach_whose_answer_was_rejected(db, differing) -> None:
    adjudicate(db, open_review(db).id, "rita", "confirm", label="dog", reason="look at the ears")
    (mine,) = own(db, differing, "ann")
    assert (mine["instead"], mine["reason"]) == ("dog", "reviewed by rita: look at the ears")
    sample = db.scalars(select(AnnotationTask.sample_id)).one()
    request(db, differing, sample, reason="hm", by="rita")
    adjudicate(db, open_review(db).id, "ron", "confirm", label="eel", reason="it swims")
    (corrected,) = own(db, differing, "bob")
    assert (corrected["outcome"], corrected["reason"]) == ("rejected", "corrected by ron to eel: it swims")


def test_a_task_that_was_sent_back_carries_the_reviewers_words_to_whoever_has_it_next(db, differing) -> None:
    adjudicate(db, open_review(db).id, "rita", "send_back", reason="mind the ears")
    for who in ("ann", "bob"):
        assert [row["reason"] for row in own(db, differing, who)] == ["rita: mind the ears"]
    task = take(db, differing, "cid")
    assert task.reason["sent_back"] == "rita: mind the ears"
    assert task.reason["strategy"] == "random"  # why it was chosen stays
