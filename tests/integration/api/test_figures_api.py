"""Balance and throughput: what is counted, who sees whose, and that they do not tell gold tasks apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from test_reviews_api import pets  # noqa: F401

from learnloop.database import Annotation, RoundAnnotation
from learnloop.loop.rounds import request_round


def work(client, answers: list[str | None], seconds: float = 2.0) -> None:
    for label in answers:
        task = client.post("/datasets/pets/tasks/claim").json()["id"]
        if label is None:
            client.post(f"/tasks/{task}/skip", json={"reason": "blurred"})
        else:
            client.post(f"/tasks/{task}/annotation", json={"label": label, "seconds": seconds})


def test_confirmed_labels_by_class_and_what_waits_for_a_round(pets, as_user, db) -> None:  # noqa: F811
    dataset = pets(tasks=9, check="none")
    work(as_user("ann", "annotator"), ["cat", "cat", "dog"])
    request_round(db, dataset, by="sue", reason="")
    db.commit()
    work(as_user("ann", "annotator"), ["cat"])
    found = as_user("vera", "viewer").get("/datasets/pets/balance").json()["items"]
    assert found == [
        {"label": "cat", "confirmed": 3, "waiting": 1},
        {"label": "dog", "confirmed": 1, "waiting": 0},
    ]
    assert db.query(RoundAnnotation).count() == 3


def test_a_class_without_labels_and_one_that_is_no_class_any_more(pets, as_user, db) -> None:  # noqa: F811
    dataset = pets(tasks=3, check="none")
    work(as_user("ann", "annotator"), ["dog"])
    dataset.loop = {**dataset.loop, "classes": ["cat", "eel"]}
    db.commit()
    found = as_user("ann", "annotator").get("/datasets/pets/balance").json()["items"]
    assert [(each["label"], each["confirmed"]) for each in found] == [("cat", 0), ("eel", 0), ("dog", 1)]


def test_a_corrected_label_counts_once_under_its_new_name(pets, as_user) -> None:  # noqa: F811
    pets(tasks=3, check="none")
    work(as_user("ann", "annotator"), ["dog"])
    rita = as_user("rita", "reviewer")
    review = rita.post("/datasets/pets/reviews", json={"sample_id": "s0"}).json()["id"]
    rita.post(f"/reviews/{review}/decision", json={"decision": "confirm", "label": "cat", "reason": "it purrs"})
    found = rita.get("/datasets/pets/balance").json()["items"]
    assert [(each["label"], each["confirmed"]) for each in found] == [("cat", 1), ("dog", 0)]


def test_days_are_counted_by_person_and_one_sees_ones_own(pets, as_user, db) -> None:  # noqa: F811
    pets(tasks=9)
    work(as_user("ann", "annotator"), ["cat", "dog", None], seconds=1.5)
    work(as_user("bob", "annotator"), ["cat"])
    today = datetime.now(UTC).date().isoformat()
    own = as_user("ann", "annotator").get("/datasets/pets/throughput/me").json()["items"]
    assert own == [{"annotator": "ann", "day": today, "answers": 2, "skipped": 1, "timed": 2, "seconds": 3.0}]
    everybody = as_user("rita", "reviewer").get("/datasets/pets/throughput").json()["items"]
    assert [(day["annotator"], day["answers"]) for day in everybody] == [("ann", 2), ("bob", 1)]
    assert as_user("ann", "annotator").get("/datasets/pets/throughput").status_code == 403
    assert as_user("vera", "viewer").get("/datasets/pets/throughput/me").status_code == 403


def test_an_older_day_is_left_out_and_what_was_taken_back_too(pets, as_user, db) -> None:  # noqa: F811
    pets(tasks=9, overlap=2)
    ann = as_user("ann", "annotator")
    work(ann, ["cat", "dog"])
    first = db.query(Annotation).order_by(Annotation.id).first().id
    old = datetime.now(UTC) - timedelta(days=3)
    db.execute(update(Annotation).where(Annotation.id == first).values(created_at=old))
    db.commit()
    assert ann.post("/datasets/pets/tasks/undo").status_code == 200
    assert ann.get("/datasets/pets/throughput/me", params={"days": 3}).json()["items"] == []
    found = ann.get("/datasets/pets/throughput/me", params={"days": 4}).json()["items"]
    assert [(day["day"], day["answers"]) for day in found] == [(old.date().isoformat(), 1)]


def test_a_gold_answer_counts_like_any_other(pets, as_user) -> None:  # noqa: F811
    pets(tasks=5, gold=1, gold_every=2)
    ann = as_user("ann", "annotator")
    counted = []
    for _ in range(3):
        work(ann, ["cat"])
        counted.append(ann.get("/datasets/pets/throughput/me").json()["items"][0]["answers"])
    assert counted == [1, 2, 3]  # the third was gold


@pytest.mark.parametrize("days", ["0", "91", "x"])
def test_days_out_of_bounds(pets, as_user, days: str) -> None:  # noqa: F811
    pets()
    assert as_user("ann", "annotator").get("/datasets/pets/throughput/me", params={"days": days}).status_code == 422
