"""A round is opened once, closed however it ends, and its labels are never lost."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.database import AnnotationTask, Batch, Dataset, OutboxMessage, PolicyEvaluation, Round, RoundAnnotation
from learnloop.errors import Conflict, InvalidInput, NotFound
from learnloop.loop.progress import progress
from learnloop.loop.rounds import close_round, consumed, due_rounds, request_round, start_by_hand, start_round


@pytest.fixture
def dataset(db: Session) -> Dataset:
    loop = {"classes": ["cat", "dog"], "policy": {"labels": 3}}
    made = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
    db.add(made)
    db.flush()
    batch = Batch(dataset_id=made.id, name="b", tree="0" * 32 + ".dir", samples=20, owner="ada")
    db.add(batch)
    db.flush()
    for n in range(20):
        db.add(
            AnnotationTask(
                dataset_id=made.id, batch_id=batch.id, sample_id=f"s{n}", path="x", object="0" * 32, owner="ada"
            )
        )
    db.commit()
    return made


def label(db: Session, dataset: Dataset, count: int) -> None:
    for _ in range(count):
        submit(db, claim(db, dataset.id, "ben", lease_seconds=60).id, "ben", "cat")


def test_the_label_that_was_needed_opens_one_round_with_all_that_waits(db, dataset) -> None:
    label(db, dataset, 2)
    assert due_rounds(db) == []
    assert progress(db, dataset).reason == "1 more label needed"
    label(db, dataset, 1)
    (due,) = due_rounds(db)
    assert (due.number, due.run_id, due.state) == (0, "round-pets-0", "requested")
    assert len(consumed(db, due)) == 3
    message = db.scalars(select(OutboxMessage)).one()
    assert (message.topic, message.key, message.delivered_at) == ("round.requested", "round-pets-0", None)


def test_labels_that_come_meanwhile_wait_for_the_next_round(db, dataset) -> None:
    label(db, dataset, 7)
    assert len(due_rounds(db)) == 1
    start_round(db, "round-pets-0")
    assert db.scalars(select(OutboxMessage)).one().delivered_at is not None
    first = db.scalars(select(Round)).one()
    first.metrics = {"accepted": False}
    assert close_round(db, "round-pets-0") == "rejected"
    (following,) = due_rounds(db)  # four more were waiting
    assert following.number == 1
    assert len(consumed(db, following)) == 4


def test_a_failed_rounds_labels_go_back_to_the_pool(db, dataset) -> None:
    label(db, dataset, 3)
    start_round(db, "round-pets-0")
    assert close_round(db, "round-pets-0") == "failed"
    assert db.scalar(select(func.count()).select_from(RoundAnnotation)) == 0
    assert due_rounds(db) == []  # what failed is not tried again at once, for ever
    with pytest.raises(Conflict, match="went back to the pool"):
        start_round(db, "round-pets-0")
    label(db, dataset, 1)
    (retry,) = due_rounds(db)
    assert (retry.number, len(consumed(db, retry))) == (1, 4)


def test_an_accepted_model_that_nobody_serves_is_a_failed_round(db, dataset) -> None:
    label(db, dataset, 3)
    started = start_round(db, "round-pets-0")
    started.metrics = {"accepted": True}
    assert close_round(db, "round-pets-0") == "failed"


def test_closing_and_starting_again_change_nothing(db, dataset) -> None:
    label(db, dataset, 3)
    assert start_round(db, "round-pets-0") is start_round(db, "round-pets-0")
    started = db.scalars(select(Round)).one()
    started.metrics, started.served_at = {"accepted": True}, func.now()
    assert [close_round(db, "round-pets-0") for _ in range(2)] == ["accepted", "accepted"]


def test_a_person_starts_a_round_but_not_two_and_not_for_nothing(db, dataset) -> None:
    with pytest.raises(InvalidInput, match="nothing to train on"):
        request_round(db, dataset, by="ada", reason="")
    label(db, dataset, 1)
    assert request_round(db, dataset, by="ada", reason="now").reason == "now"
    with pytest.raises(Conflict, match="wait until it has ended"):
        request_round(db, dataset, by="ada", reason="again")


def test_every_evaluation_leaves_its_reason(db, dataset) -> None:
    label(db, dataset, 4)
    assert [row.reason for row in db.scalars(select(PolicyEvaluation).order_by(PolicyEvaluation.id))] == [
        "2 more labels needed",
        "1 more label needed",
        "3 confirmed labels wait, 3 were needed",
        "round 0 is under way; 1 labels wait for the next",
    ]


@pytest.mark.parametrize("run_id", ["round-pets-9", "manual__2026", "round-", "round-pets-x", "round-nobody-0"])
def test_a_run_without_a_round_is_told_so(db, dataset, run_id: str) -> None:
    with pytest.raises(NotFound, match="no round belongs"):
        start_round(db, run_id)


def test_a_person_starts_a_round_in_airflow_with_what_is_confirmed(db, dataset) -> None:
    with pytest.raises(InvalidInput, match="nothing to train on"):
        start_by_hand(db, dataset, run_id="manual__1", by="sam")
    label(db, dataset, 2)
    started = start_by_hand(db, dataset, run_id="manual__1", by="sam")
    assert (started.state, started.owner, len(consumed(db, started))) == ("running", "sam", 2)
    assert due_rounds(db) == []
    assert db.scalars(select(OutboxMessage)).one().delivered_at is not None
    assert start_by_hand(db, dataset, run_id="manual__1", by="sam").id == started.id  # retried
    with pytest.raises(Conflict, match="is running: wait"):
        start_by_hand(db, dataset, run_id="manual__2", by="sam")
    started.metrics = {**started.metrics, "accepted": False}
    assert close_round(db, "manual__1") == "rejected"
    with pytest.raises(Conflict, match="rejected and stays so"):
        start_by_hand(db, dataset, run_id="manual__1", by="sam")
