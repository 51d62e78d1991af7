"""What is known of people's answers, who may know what of it, and the check of all answers."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import select

from learnloop.annotation.adjudication import adjudicate
from learnloop.annotation.answers import submit
from learnloop.annotation.quality import checks
from learnloop.annotation.quality.overlap import SHARED, agreement_of, answers_of
from learnloop.annotation.quality.people import GOLD_STEP, everybodys, own
from learnloop.annotation.queue import claim, skip
from learnloop.annotation.undo import undo
from learnloop.database import AnnotationTask, ConfirmedAnnotation, QualityCheck, Review

LEASE = 300


def take(db, dataset, who: str) -> AnnotationTask:
    return claim(db, dataset.id, who, lease_seconds=LEASE)


def figures(db, dataset, who: str):
    (found,) = [person for person in everybodys(db, dataset) if person.annotator == who]
    return found


def test_everything_is_counted_once(db, make_dataset) -> None:
    dataset = make_dataset(tasks=6, gold_every=2)
    submit(db, take(db, dataset, "ben").id, "ben", "dog", seconds=2)
    submit(db, take(db, dataset, "ben").id, "ben", "dog", seconds=4)
    submit(db, take(db, dataset, "ben").id, "ben", "cat", seconds=3)  # gold, right: two are confirmed
    skip(db, take(db, dataset, "ben").id, "ben", "dark")
    submit(db, take(db, dataset, "ben").id, "ben", "dog", seconds=5)
    undo(db, dataset, "ben", lease_seconds=LEASE)
    submit(db, take(db, dataset, "ben").id, "ben", "eel", seconds=6)
    submit(db, take(db, dataset, "ben").id, "ben", "eel", seconds=7)
    gold = take(db, dataset, "ben")
    submit(db, gold.id, "ben", "eel", seconds=8)  # gold, wrong: two wait for others
    found = figures(db, dataset, "ben")
    assert (found.answers, found.skipped, found.withdrawn) == (6, 1, 1)
    assert (found.confirmed, found.rejected, found.waiting) == (2, 0, 2)
    assert (found.gold_right, found.gold_answered, found.gold_accuracy) == (1, 2, 0.5)
    assert found.median_seconds == 5
    undo(db, dataset, "ben", lease_seconds=LEASE)
    submit(db, gold.id, "ben", "cat")  # trying again makes nothing better
    assert figures(db, dataset, "ben").gold_accuracy == 0.5
    assert [person.annotator for person in everybodys(db, dataset)] == ["ben"]


def test_nobody_reads_a_gold_task_from_their_own_figures(db, make_dataset) -> None:
    """What is told of decided answers moves at every fifth gold task, and not before."""
    dataset = make_dataset(tasks=40, gold=3, gold_every=2)
    told = []
    golds = 0
    while golds < GOLD_STEP:
        task = take(db, dataset, "ben")
        before = own(db, dataset, "ben")
        submit(db, task.id, "ben", "cat" if task.kind == "gold" else "dog", seconds=1.0)
        golds += task.kind == "gold"
        after = own(db, dataset, "ben")
        if golds < GOLD_STEP:
            assert (after.gold_answered, after.confirmed, after.rejected) == (0, 0, 0)
            assert (after.answers, after.waiting) == (before.answers + 1, before.waiting + 1)  # gold or not
            assert (after.skipped, after.withdrawn, after.fast) == (0, 0, 0)
        told.append(after)
    assert (told[-1].gold_answered, told[-1].gold_right) == (GOLD_STEP, GOLD_STEP)
    assert told[-1].confirmed == 2 * GOLD_STEP
    assert figures(db, dataset, "ben").confirmed == 2 * GOLD_STEP
    assert own(db, dataset, "nobody").answers == 0


def test_without_gold_tasks_there_is_nothing_to_hide(db, make_dataset) -> None:
    dataset = make_dataset(tasks=2, gold=0)
    submit(db, take(db, dataset, "ben").id, "ben", "dog")
    assert own(db, dataset, "ben").confirmed == 1
    assert own(db, dataset, "ben").accepted == 1.0


def test_agreement_of_those_who_answered_the_same(db, make_dataset) -> None:
    count = SHARED + 2
    dataset = make_dataset(tasks=count, gold=0, overlap=2, most_opinions=2)
    for number in range(count):
        submit(db, take(db, dataset, "ann").id, "ann", ("cat", "dog")[number % 2])
        submit(db, take(db, dataset, "bob").id, "bob", ("cat", "dog")[number % 2] if number else "dog")
    found = agreement_of(answers_of(db, dataset))
    assert found["samples"] == count
    assert found["fleiss_answers"] == 2
    ((first,), pair) = ([pair["cohen_kappa"] for pair in found["pairs"]], found["pairs"][0])
    assert (pair["people"], pair["samples"]) == (["ann", "bob"], count)
    assert first == pytest.approx(10 / 12, abs=0.01)
    assert found["krippendorff_alpha"] == pytest.approx(first, abs=0.02)


def test_agreement_of_nobody(db, make_dataset) -> None:
    found = agreement_of(answers_of(db, make_dataset()))
    assert found == {
        "samples": 0,
        "krippendorff_alpha": None,
        "fleiss_kappa": None,
        "fleiss_answers": None,
        "pairs": [],
    }


def test_a_check_fits_annotators_to_gold_tasks_and_to_each_other(db, make_dataset) -> None:
    dataset = make_dataset(tasks=30, gold=5, gold_every=4, overlap=3, most_opinions=3, agreement=1.0)
    truth = {f"s{n}": ("cat", "dog", "eel")[n % 3] for n in range(30)}
    for who in ("ann", "bob", "cid"):
        while (task := take(db, dataset, who)) is not None:
            right = task.gold_label or truth[task.sample_id]
            submit(db, task.id, who, "dog" if who == "bob" and right == "eel" else right)
    made = checks.check(db, dataset, owner="rita")
    confusions = made.reliability["confusions"]
    assert set(confusions) == {"ann", "bob", "cid"}
    assert np.argmax(confusions["ann"], axis=1).tolist() == [0, 1, 2]
    assert np.argmax(confusions["bob"], axis=1).tolist() == [0, 1, 1]  # calls an eel a dog
    assert checks.newest(db, dataset) is made
    assert not checks.due(db, dataset)


def label_all(db, dataset, wrong: set[str]) -> None:
    """Ann labels everything as the model does, but for ``wrong``; all of it is confirmed at once."""
    while (task := take(db, dataset, "ann")) is not None:
        likely = task.prediction["label"]
        submit(
            db,
            task.id,
            "ann",
            {"cat": "dog", "dog": "eel", "eel": "cat"}[likely] if task.sample_id in wrong else likely,
        )


@pytest.fixture
def sure(db, make_dataset):
    """60 tasks of which the model is fairly sure."""

    def make(**quality):
        dataset = make_dataset(tasks=60, gold=0, **quality)
        random = np.random.default_rng(1)
        for task in db.scalars(select(AnnotationTask).order_by(AnnotationTask.id)):
            likely = ("cat", "dog", "eel")[task.id % 3]
            share = float(random.uniform(0.7, 0.95))
            rest = (1 - share) / 2
            probabilities = {name: share if name == likely else rest for name in ("cat", "dog", "eel")}
            task.prediction = {**task.prediction, "label": likely, "probabilities": probabilities}
        db.flush()
        return dataset

    return make


WRONG = {"s4", "s17", "s30", "s41"}


def test_suspected_labels_go_to_review_once_and_stay_in_force_until_corrected(db, sure) -> None:
    dataset = sure()
    label_all(db, dataset, WRONG)
    assert checks.due(db, dataset)
    made = checks.check(db, dataset)
    found = db.scalars(select(Review).order_by(Review.id)).all()
    assert 0 < len(found) == made.suspected
    assert {review.task.sample_id for review in found} <= WRONG
    assert {review.kind for review in found} == {"suspicion"}
    assert {review.task.state for review in found} == {"confirmed"}
    assert "to which the model gave 0." in found[0].reason
    assert len(db.scalars(select(ConfirmedAnnotation)).all()) == 60
    assert checks.check(db, dataset).suspected == 0  # they are being asked about already
    first = found[0]
    adjudicate(db, first.id, "rita", "confirm", label=first.facts["model_label"], reason="see the ears")
    for kept in found[1:]:
        adjudicate(db, kept.id, "rita", "confirm", label=kept.facts["label"])
    assert len(db.scalars(select(ConfirmedAnnotation)).all()) == 61
    assert checks.check(db, dataset).suspected == 0  # and what a reviewer decided stands


def test_a_policy_that_accepts_suspicion_sends_nothing(db, sure) -> None:
    dataset = sure(suspicion="accept")
    label_all(db, dataset, WRONG)
    assert checks.check(db, dataset).suspected == 0
    assert db.scalars(select(Review)).all() == []


def test_a_label_corrected_while_a_check_looked_is_left_alone(db, sure) -> None:
    dataset = sure()
    label_all(db, dataset, WRONG)
    rows = db.execute(checks._IN_FORCE, {"dataset": dataset.id, "most": 100}).all()
    suspect = next(row for row, _ in checks._suspected(rows, ["cat", "dog", "eel"]))
    from learnloop.annotation.reviews import request

    task = db.get_one(AnnotationTask, suspect.task_id)
    adjudicate(db, request(db, dataset, task.sample_id, reason="", by="r").id, "r", "confirm", label="eel", reason="x")
    facts = {"label": "cat", "probability": 0.1, "model_label": "dog", "model_probability": 0.9}
    if suspect.label != "eel":
        assert not checks._send_to_review(db, suspect, facts)


def test_a_check_of_nothing(db, make_dataset) -> None:
    dataset = make_dataset()
    assert not checks.due(db, dataset)
    made = checks.check(db, dataset)
    assert (made.answers, made.confirmed, made.suspected, made.reliability) == (0, 0, 0, None)
    assert db.scalars(select(QualityCheck.owner)).one() == "service:learnloop"


def test_maintenance_checks_what_has_new_answers(db, sure, make_dataset, database_url, monkeypatch) -> None:
    from learnloop import settings
    from learnloop.database.engine import engine
    from learnloop_airflow.operators.maintenance import CheckQualityOperator

    dataset = sure()
    make_dataset(name="quiet")
    label_all(db, dataset, WRONG)
    db.commit()
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings.settings.cache_clear()
    engine.cache_clear()
    try:
        operator = CheckQualityOperator(task_id="t")
        suspected = operator.execute({})
        assert set(suspected) == {"pets"}
        assert suspected["pets"] > 0
        assert operator.execute({}) == {}  # nothing new since
    finally:
        engine().dispose()
        engine.cache_clear()
        settings.settings.cache_clear()
