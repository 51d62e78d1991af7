"""Several people answer a sample; consensus, doubt, and what goes to a reviewer."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from learnloop.annotation.answers import submit
from learnloop.annotation.quality.people import everybodys, own
from learnloop.annotation.quality.speed import ENOUGH
from learnloop.annotation.queue import FRONT, MOST_SKIPS, claim, skip
from learnloop.annotation.settling import SECOND_OPINION_PRIORITY
from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, QualityCheck, Review

LEASE = 300


def answer(db, dataset, who: str, label: str, **more) -> Annotation:
    """Answer the next task that is not gold; gold ones are answered rightly."""
    while (task := claim(db, dataset.id, who, lease_seconds=LEASE)).kind == "gold":
        submit(db, task.id, who, "cat")
    return submit(db, task.id, who, label, **more)


def pool(db) -> list[tuple[str, str, str]]:
    columns = ConfirmedAnnotation.sample_id, ConfirmedAnnotation.label, ConfirmedAnnotation.confirmed_by
    return [tuple(row) for row in db.execute(select(*columns).order_by(ConfirmedAnnotation.id))]


def outcomes(db, task_id: int) -> dict[str, str]:
    return dict(
        tuple(row)
        for row in db.execute(select(Annotation.owner, Annotation.outcome).where(Annotation.task_id == task_id))
    )


def test_three_independent_answers_a_sample_never_two_by_one_person(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, overlap=3)
    first = answer(db, dataset, "ann", "dog")
    assert claim(db, dataset.id, "ann", lease_seconds=LEASE).kind == "gold"  # nothing else is left for her
    answer(db, dataset, "bob", "dog")
    assert pool(db) == []
    answer(db, dataset, "cid", "eel")
    assert pool(db) == [("s0", "dog", "2 of 3 agree")]
    assert outcomes(db, first.task_id) == {"ann": "confirmed", "bob": "confirmed", "cid": "rejected"}
    rejected = db.scalars(select(Annotation).where(Annotation.owner == "cid", Annotation.label == "eel")).one()
    assert rejected.outcome_reason == "bob says dog (2 of 3 agree)"


def test_what_is_begun_is_finished_before_more_is_begun(db, make_dataset) -> None:
    dataset = make_dataset(tasks=3, gold=0, overlap=2)
    first = answer(db, dataset, "ann", "dog")
    assert claim(db, dataset.id, "bob", lease_seconds=LEASE).id == first.task_id


def test_tasks_go_out_by_priority_then_age(db, make_dataset) -> None:
    dataset = make_dataset(tasks=4, gold=0)
    db.execute(update(AnnotationTask).where(AnnotationTask.sample_id == "s2").values(priority=5))
    claimed = [claim(db, dataset.id, who, lease_seconds=LEASE).sample_id for who in ("ann", "bob", "cid", "dan")]
    assert claimed == ["s2", "s0", "s1", "s3"]


def test_who_runs_ahead_gets_what_nobody_has_begun_and_then_what_is_left(db, make_dataset) -> None:
    """The front of the queue is full of one's own answers; behind it are others' and new ones."""
    dataset = make_dataset(tasks=FRONT + 12, gold=0, overlap=2)
    for _ in range(FRONT + 10):
        answer(db, dataset, "ann", "dog")
    assert claim(db, dataset.id, "ann", lease_seconds=LEASE).sample_id == f"s{FRONT + 10}"
    # Bob begins the two that are left, and Ann may finish them though they are behind all her own.
    db.execute(
        update(AnnotationTask)
        .where(AnnotationTask.claimed_by == "ann")
        .values(state="open", claimed_by=None, lease_expires_at=None)
    )
    for number in (FRONT + 10, FRONT + 11):
        begun = db.scalars(select(AnnotationTask).where(AnnotationTask.sample_id == f"s{number}")).one()
        db.add(Annotation(dataset_id=dataset.id, task_id=begun.id, label="dog", owner="bob", outcome="pending"))
        begun.priority = SECOND_OPINION_PRIORITY
    db.flush()
    assert {answer(db, dataset, "ann", "dog").outcome for _ in range(2)} == {"confirmed"}
    assert claim(db, dataset.id, "ann", lease_seconds=LEASE) is None


def test_no_consensus_after_most_opinions_is_a_reviewers(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0, overlap=2, most_opinions=3)
    for who, label in (("ann", "cat"), ("bob", "dog"), ("cid", "eel")):
        given = answer(db, dataset, who, label, comment=f"I see a {label}")
    review = db.scalars(select(Review)).one()
    assert (review.kind, review.task_id) == ("disagreement", given.task_id)
    assert review.reason == "3 people differ: 1 × cat, 1 × dog, 1 × eel"
    assert given.task.state == "review"
    assert claim(db, dataset.id, "dan", lease_seconds=LEASE) is None
    assert pool(db) == []


def test_a_failed_gold_task_makes_an_overlapping_answer_doubtful(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, overlap=2)
    answer(db, dataset, "ann", "dog")
    gold = claim(db, dataset.id, "ann", lease_seconds=LEASE)
    submit(db, gold.id, "ann", "eel")
    answer(db, dataset, "bob", "dog")
    assert pool(db) == []  # a doubtful answer and another are not two
    answer(db, dataset, "cid", "dog")
    assert pool(db) == [("s0", "dog", "3 of 3 agree")]


def test_dawid_skene_weighs_by_what_the_last_check_found(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0, overlap=3, consensus="dawid_skene", agreement=0.9)
    good, bad = [[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98]], [[0.34, 0.33, 0.33]] * 3
    fitted = {"classes": ["cat", "dog", "eel"], "priors": [0.4, 0.3, 0.3]}
    fitted["confusions"] = {"ann": good, "bob": bad, "cid": bad}
    db.add(QualityCheck(dataset_id=dataset.id, answers=9, confirmed=0, suspected=0, reliability=fitted, owner="rita"))
    for who, label in (("ann", "eel"), ("bob", "dog"), ("cid", "dog")):
        answer(db, dataset, who, label)
    ((sample, label, rule),) = pool(db)
    assert (sample, label) == ("s0", "eel")
    assert rule.startswith("Dawid-Skene: eel with 0.9")


@pytest.mark.parametrize(("action", "kind"), [("second_opinion", None), ("review", "fast")])
def test_an_answer_far_faster_than_usual(db, make_dataset, action, kind) -> None:
    dataset = make_dataset(tasks=ENOUGH + 2, gold=0, fast_answers=action)
    for _ in range(ENOUGH):
        answer(db, dataset, "ann", "dog", seconds=4.0)
    hasty = answer(db, dataset, "bob", "cat", seconds=0.3)
    assert len(pool(db)) == ENOUGH
    assert "0.3 s where 4.0 s is usual in this dataset" in hasty.outcome_reason
    if kind is None:
        assert (hasty.outcome, hasty.task.state) == ("second_opinion", "open")
        assert answer(db, dataset, "cid", "cat", seconds=3.0).task_id == hasty.task_id
        assert pool(db)[-1] == (hasty.task.sample_id, "cat", "two agree")
    else:
        assert hasty.task.state == "review"
        assert db.scalars(select(Review.kind)).one() == kind
    assert answer(db, dataset, "bob", "cat", seconds=0.9).outcome == "confirmed"  # quick, but no outlier


@pytest.mark.parametrize(("action", "kind"), [("second_opinion", None), ("review", "slow")])
def test_an_answer_far_slower_than_usual(db, make_dataset, action, kind) -> None:
    dataset = make_dataset(tasks=2 * ENOUGH + 3, gold=0, slow_answers=action)
    for _ in range(ENOUGH):
        answer(db, dataset, "ann", "dog", seconds=4.0)
    late = answer(db, dataset, "bob", "cat", seconds=41.0)
    assert "41.0 s where 4.0 s is usual in this dataset" in late.outcome_reason
    if kind is None:
        assert (late.outcome, late.task.state) == ("second_opinion", "open")
        answer(db, dataset, "cid", "cat", seconds=3.0)
    else:
        assert late.task.state == "review"
        review = db.scalars(select(Review)).one()
        assert (review.kind, review.reason) == (kind, f"bob's answer: {late.outcome_reason}")
    assert answer(db, dataset, "bob", "cat", seconds=39.0).outcome == "confirmed"  # slow, but no outlier
    for _ in range(ENOUGH):
        answer(db, dataset, "dan", "dog", seconds=39.0)
    assert answer(db, dataset, "dan", "dog", seconds=60.0).outcome == "confirmed"  # who is always slow


def test_a_slow_answer_is_told_in_the_figures_and_by_default_no_more(db, make_dataset) -> None:
    dataset = make_dataset(tasks=ENOUGH + 2, gold=0)
    for _ in range(ENOUGH):
        answer(db, dataset, "ann", "dog", seconds=4.0)
    for seconds in (0.1, 41.0):
        assert answer(db, dataset, "bob", "dog", seconds=seconds).outcome == "confirmed"
    found = {person.annotator: (person.fast, person.slow) for person in everybodys(db, dataset)}
    assert found == {"ann": (0, 0), "bob": (1, 1)}
    assert own(db, dataset, "bob").slow == 1


def test_speed_is_no_matter_where_the_policy_accepts_it_or_little_is_known(db, make_dataset) -> None:
    accepts = make_dataset(tasks=ENOUGH + 1, gold=0)
    for _ in range(ENOUGH):
        answer(db, accepts, "ann", "dog", seconds=4.0)
    assert answer(db, accepts, "bob", "dog", seconds=0.1).outcome == "confirmed"
    young = make_dataset(tasks=ENOUGH, gold=0, fast_answers="review", name="young")
    for _ in range(ENOUGH - 1):
        answer(db, young, "ann", "dog", seconds=4.0)
    assert answer(db, young, "bob", "dog", seconds=0.1).outcome == "confirmed"


def test_what_nobody_will_answer_goes_to_a_reviewer_with_their_reasons(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, gold=0)
    for number in range(MOST_SKIPS):
        task = claim(db, dataset.id, f"p{number}", lease_seconds=LEASE)
        skip(db, task.id, f"p{number}", ("Damaged", "", "too dark")[number])
    review = db.scalars(select(Review)).one()
    assert (review.kind, review.reason) == ("skipped", "3 people skipped it: Damaged, no reason, too dark")
    assert claim(db, dataset.id, "dan", lease_seconds=LEASE) is None


def test_every_label_is_reviewed_where_the_policy_says_so(db, make_dataset) -> None:
    dataset = make_dataset(tasks=1, check="review")
    given = answer(db, dataset, "ann", "dog")
    assert pool(db) == []
    assert db.scalars(select(Review.kind)).one() == "policy"
    assert given.task.state == "review"


def test_a_policy_without_checks_confirms_at_once(db, make_dataset) -> None:
    dataset = make_dataset(tasks=2, check="none", gold_every=2)
    answer(db, dataset, "ann", "dog")
    assert len(pool(db)) == 1
