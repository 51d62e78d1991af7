"""What a reviewer decides, and that the pool is only ever added to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

import learnloop
from learnloop.annotation import pool
from learnloop.annotation.adjudication import adjudicate
from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim, skip
from learnloop.annotation.reviews import answers_to, open_review, request
from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, PolicyEvaluation, Review, Round
from learnloop.errors import Conflict, InvalidInput, NotFound
from learnloop.loop.progress import progress
from learnloop.loop.rounds import close_round, consumed, start_round

LEASE = 300


def answer(db, dataset, who: str, label: str, comment: str = "") -> Annotation:
    return submit(db, claim(db, dataset.id, who, lease_seconds=LEASE).id, who, label, comment=comment)


@pytest.fixture
def disagreement(db, make_dataset) -> Review:
    """Ann says cat, Bob says dog, and no more than two are asked."""
    dataset = make_dataset(tasks=2, gold=0, overlap=2, most_opinions=2)
    answer(db, dataset, "ann", "cat", "whiskers")
    answer(db, dataset, "bob", "dog")
    return db.scalars(select(Review)).one()


def labels(db) -> list[tuple[str, str, int | None]]:
    columns = ConfirmedAnnotation.label, ConfirmedAnnotation.owner, ConfirmedAnnotation.supersedes_id
    return [tuple(row) for row in db.execute(select(*columns).order_by(ConfirmedAnnotation.id))]


def test_one_of_the_answers_is_confirmed(db, disagreement) -> None:
    decided = adjudicate(db, disagreement.id, "rita", "confirm", label="cat")
    assert (decided.decision, decided.label, decided.decided_by) == ("confirm", "cat", "rita")
    assert labels(db) == [("cat", "rita", None)]
    said = {row.owner: (row.outcome, row.outcome_reason) for row in answers_to(db, decided.task)}
    assert said["ann"] == ("confirmed", "rita agrees (reviewed by rita)")
    assert said["bob"] == ("rejected", "rita says cat (reviewed by rita)")
    assert decided.task.state == "confirmed"
    assert db.scalars(select(PolicyEvaluation.reason)).all() == ["999 more labels needed"]


def test_another_label_is_confirmed_with_a_reason(db, disagreement) -> None:
    with pytest.raises(InvalidInput, match="nobody has answered 'eel': say why"):
        adjudicate(db, disagreement.id, "rita", "confirm", label="eel", reason="  ")
    adjudicate(db, disagreement.id, "rita", "confirm", label="eel", reason="no legs")
    assert labels(db) == [("eel", "rita", None)]
    assert {row.outcome for row in answers_to(db, disagreement.task) if row.review_id is None} == {"rejected"}
    decision = db.scalars(select(Annotation).where(Annotation.review_id == disagreement.id)).one()
    assert (decision.owner, decision.comment) == ("rita", "no legs")


def test_comments_and_skips_are_shown_to_the_reviewer(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0, overlap=2, most_opinions=2)
    skip(db, claim(db, dataset.id, "cid", lease_seconds=LEASE).id, "cid", "too dark")
    answer(db, dataset, "ann", "cat", "whiskers")
    given = answer(db, dataset, "bob", "dog")
    said = [(row.owner, row.label, row.comment or row.outcome_reason) for row in answers_to(db, given.task)]
    assert said == [("cid", None, "too dark"), ("ann", "cat", "whiskers"), ("bob", "dog", "")]


def test_sent_back_it_is_asked_again_of_others(db, disagreement) -> None:
    with pytest.raises(InvalidInput, match="say why"):
        adjudicate(db, disagreement.id, "rita", "send_back")
    adjudicate(db, disagreement.id, "rita", "send_back", reason="look at the ears")
    task = disagreement.task
    assert {row.outcome_reason for row in answers_to(db, task)} == {"rita: look at the ears"}
    for who in ("ann", "bob"):
        other = claim(db, task.dataset_id, who, lease_seconds=LEASE)
        assert other is None or other.id != task.id
    assert claim(db, task.dataset_id, "cid", lease_seconds=LEASE).id == task.id
    submit(db, task.id, "cid", "eel")
    assert claim(db, task.dataset_id, "dan", lease_seconds=LEASE).id == task.id
    submit(db, task.id, "dan", "eel")
    assert [label for label, _, _ in labels(db)] == ["eel"]


def test_a_rejected_sample_is_not_asked_about_again(db, disagreement) -> None:
    adjudicate(db, disagreement.id, "rita", "reject", reason="not an animal")
    task = disagreement.task
    assert task.state == "rejected"
    assert labels(db) == []
    assert all(row.outcome == "rejected" for row in answers_to(db, task))
    assert claim(db, task.dataset_id, "dan", lease_seconds=LEASE).id != task.id


@pytest.mark.parametrize(
    ("decision", "label", "reason", "said"),
    [
        ("confirm", None, "", "confirm which label"),
        ("confirm", "bird", "", "cat, dog, eel"),
        ("reject", "cat", "why", "a label belongs to the decision confirm"),
        ("reject", None, " ", "say why"),
        ("perhaps", None, "", "'perhaps' is no decision: it is one of confirm, send_back, reject"),
    ],
)
def test_a_wrong_decision_changes_nothing(db, disagreement, decision, label, reason, said) -> None:
    with pytest.raises(InvalidInput, match=said):
        adjudicate(db, disagreement.id, "rita", decision, label=label, reason=reason)
    assert disagreement.decision is None
    assert disagreement.task.state == "review"
    assert labels(db) == []


def test_the_first_decision_stands_and_its_repetition_is_no_error(db, disagreement) -> None:
    adjudicate(db, disagreement.id, "rita", "confirm", label="cat")
    assert adjudicate(db, disagreement.id, "rita", "confirm", label="cat") is disagreement
    for who, label in (("rita", "dog"), ("ron", "cat")):
        with pytest.raises(Conflict, match="rita chose confirm cat"):
            adjudicate(db, disagreement.id, who, "confirm", label=label)
    assert len(labels(db)) == 1


def test_a_reviewer_who_answered_may_decide_too(db, disagreement) -> None:
    adjudicate(db, disagreement.id, "ann", "confirm", label="cat")
    assert labels(db) == [("cat", "ann", None)]


@pytest.mark.parametrize("number", [0, -1, 10**6, 2**63])
def test_a_review_that_does_not_exist(db, make_dataset, number) -> None:
    make_dataset()
    with pytest.raises(NotFound, match="there is no review"):
        adjudicate(db, number, "rita", "reject", reason="x")


def test_a_correction_supersedes_and_overwrites_nothing(db, append_only, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    answer(db, dataset, "ann", "cat")
    (before,) = db.execute(select(ConfirmedAnnotation.__table__)).all()
    review = request(db, dataset, "s0", reason="I doubt it", by="rita")
    assert request(db, dataset, "s0", reason="again", by="ron") is review  # asked for once
    adjudicate(db, review.id, "rita", "confirm", label="dog", reason="it barks")
    old, new = db.execute(select(ConfirmedAnnotation.__table__).order_by(ConfirmedAnnotation.id)).all()
    assert old == before
    assert (new.label, new.supersedes_id, new.confirmed_by) == ("dog", old.id, "reviewed by rita")
    ann = db.scalars(select(Annotation).where(Annotation.owner == "ann")).one()
    assert (ann.outcome, ann.outcome_reason) == ("rejected", "corrected by rita to dog: it barks")
    again = request(db, dataset, "s0", reason="no", by="ron")
    adjudicate(db, again.id, "ron", "confirm", label="cat")
    assert [(label, over) for label, _, over in labels(db)] == [("cat", None), ("dog", old.id), ("cat", new.id)]
    assert pool.in_force(db, dataset.id, "s0").label == "cat"
    assert progress(db, dataset).waiting == 1


def test_a_confirmed_label_that_is_right_after_all_is_not_trained_again(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    answer(db, dataset, "ann", "cat")
    review = request(db, dataset, "s0", reason="", by="rita")
    adjudicate(db, review.id, "rita", "confirm", label="cat")
    assert labels(db) == [("cat", "ann", None)]
    assert review.task.state == "confirmed"


def test_a_confirmed_label_is_not_taken_out(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    answer(db, dataset, "ann", "cat")
    review = request(db, dataset, "s0", reason="", by="rita")
    for decision in ("reject", "send_back"):
        with pytest.raises(Conflict, match="s0 is in the confirmed pool as cat: confirm that label or another"):
            adjudicate(db, review.id, "rita", decision, reason="ugly")
    with pytest.raises(NotFound, match="'s9' of pets has no confirmed label"):
        request(db, dataset, "s9", reason="", by="rita")


def test_a_correction_after_the_round_trained_goes_into_the_next(db, append_only, make_dataset) -> None:
    dataset = make_dataset(tasks=3, gold=0, labels=2)
    for label in ("cat", "dog"):
        answer(db, dataset, "ann", label)
    first = db.scalars(select(Round)).one()
    start_round(db, first.run_id).metrics = {"accepted": False}
    review = request(db, dataset, "s0", reason="", by="rita")
    adjudicate(db, review.id, "rita", "confirm", label="eel", reason="no legs")  # while it trains
    assert [row.label for row in consumed(db, first)] == ["cat", "dog"]
    close_round(db, first.run_id)
    assert progress(db, dataset).waiting == 1
    answer(db, dataset, "ann", "dog")
    second = db.scalars(select(Round).where(Round.number == first.number + 1)).one()
    assert [(row.sample_id, row.label) for row in consumed(db, second)] == [("s0", "eel"), ("s2", "dog")]


def test_a_corrected_label_of_a_failed_round_comes_back_as_it_is_now(db, append_only, make_dataset) -> None:
    dataset = make_dataset(tasks=3, gold=0, labels=2)
    for label in ("cat", "dog"):
        answer(db, dataset, "ann", label)
    first = db.scalars(select(Round)).one()
    start_round(db, first.run_id)
    review = request(db, dataset, "s0", reason="", by="rita")
    adjudicate(db, review.id, "rita", "confirm", label="eel", reason="no legs")
    assert close_round(db, first.run_id) == "failed"
    answer(db, dataset, "ann", "dog")
    second = db.scalars(select(Round).where(Round.state == "requested")).one()
    assert sorted((row.sample_id, row.label) for row in consumed(db, second)) == [
        ("s0", "eel"),
        ("s1", "dog"),
        ("s2", "dog"),
    ]


def test_a_sample_waits_for_one_review_at_a_time(db, make_dataset) -> None:
    make_dataset(tasks=1)
    task = db.scalars(select(AnnotationTask)).one()
    assert open_review(db, task, "fast", "one")
    assert not open_review(db, task, "disagreement", "two")
    assert db.scalars(select(Review.reason)).all() == ["one"]


def test_the_guard_of_these_tests_bites(db, append_only, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    answer(db, dataset, "ann", "cat")
    db.scalars(select(ConfirmedAnnotation)).one().label = "dog"
    with pytest.raises(DBAPIError, match="UPDATE of a confirmed annotation"):
        db.flush()


def test_no_code_changes_a_row_of_the_pool() -> None:
    """Rows are made in ``annotation.pool`` alone, and nothing assigns to one, updates or deletes the table."""
    makers, changers = set(), set()
    place = Path(learnloop.__file__).parent
    for file in set(place.rglob("*.py")) - set(place.glob("database/migrations/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for verb in re.findall(
                    r"\b(INSERT INTO|UPDATE|DELETE FROM)\s+confirmed_annotations\b", node.value, re.I
                ):
                    (makers if verb.upper().startswith("INSERT") else changers).add(file.name)
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "ConfirmedAnnotation":
                makers.add(file.name)
            about = [ast.unparse(argument) for argument in node.args]
            if called.split(".")[-1] in ("update", "delete", "insert") and "ConfirmedAnnotation" in about:
                changers.add(file.name)
    assert makers == {"pool.py"}
    assert changers == set()
