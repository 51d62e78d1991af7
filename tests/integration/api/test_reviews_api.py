"""Reviews, undo and quality over HTTP and the command line; and that no route tells an annotator what is gold."""

from __future__ import annotations

import json

import pytest
from route_places import PLACES
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from stored_sample import SAMPLE

from learnloop.database import Annotation, AnnotationTask, Batch, ConfirmedAnnotation, Dataset, GoldQuestion, Review

PREDICTION = {
    "label": "cat",
    "confidence": 0.6,
    "uncertainty": 0.8,
    "probabilities": {"cat": 0.6, "dog": 0.4},
    "model_version": 1,
}
SECRET = "axolotl"  # the label of the gold questions, which nothing else mentions


@pytest.fixture
def pets(db: Session):
    def make(tasks: int = 3, gold: int = 0, **quality: object) -> Dataset:
        classes = ["cat", "dog", SECRET] if gold else ["cat", "dog"]
        loop = {"classes": classes, "policy": {"labels": 100}, "quality": quality}
        made = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
        db.add(made)
        db.flush()
        batch = Batch(dataset_id=made.id, name="b", tree="0" * 32 + ".dir", samples=tasks, owner="ada")
        db.add(batch)
        db.flush()
        common = {"dataset_id": made.id, "path": "x.png", "object": SAMPLE, "prediction": PREDICTION, "owner": "ada"}
        reason = {"strategy": "random", "rank": 0}
        db.add_all(AnnotationTask(batch_id=batch.id, sample_id=f"s{n}", reason=reason, **common) for n in range(tasks))
        db.add_all(GoldQuestion(sample_id=f"g{n}", label=SECRET, **common) for n in range(gold))
        db.commit()
        return made

    return make


@pytest.fixture
def disagreement(pets, as_user) -> int:
    pets(tasks=1, overlap=2, most_opinions=2)
    for who, label in (("ann", "cat"), ("bob", "dog")):
        client = as_user(who, "annotator")
        task = client.post("/datasets/pets/tasks/claim").json()
        client.post(f"/tasks/{task['id']}/annotation", json={"label": label, "comment": f"{who} says {label}"})
    (review,) = as_user("rita", "reviewer").get("/datasets/pets/reviews").json()["items"]
    return review["id"]


def test_a_review_from_disagreement_to_decision(as_user, disagreement, db) -> None:
    rita = as_user("rita", "reviewer")
    found = rita.get(f"/reviews/{disagreement}").json()
    assert [(one["annotator"], one["label"], one["comment"]) for one in found["answers"]] == [
        ("ann", "cat", "ann says cat"),
        ("bob", "dog", "bob says dog"),
    ]
    assert (found["kind"], found["state"], found["confirmed_label"]) == ("disagreement", "review", None)
    assert found["prediction"]["label"] == "cat"
    body = {"decision": "confirm", "label": "dog", "reason": "it barks"}
    once, again = (
        rita.post(f"/reviews/{disagreement}/decision", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert once.status_code == again.status_code == 200
    assert once.json() == again.json()
    assert (once.json()["decided_by"], once.json()["confirmed_label"]) == ("rita", "dog")
    assert db.scalars(select(ConfirmedAnnotation.label)).all() == ["dog"]
    assert rita.get("/datasets/pets/reviews").json()["items"] == []
    assert len(rita.get("/datasets/pets/reviews", params={"state": "decided"}).json()["items"]) == 1
    other = as_user("ron", "reviewer").post(
        f"/reviews/{disagreement}/decision", json={"decision": "reject", "reason": "x"}
    )
    assert other.status_code == 409
    assert "rita chose confirm dog" in other.json()["detail"]


def test_a_correction_asked_for_by_sample(pets, as_user, db) -> None:
    pets(tasks=1)
    ann = as_user("ann", "annotator")
    task = ann.post("/datasets/pets/tasks/claim").json()
    ann.post(f"/tasks/{task['id']}/annotation", json={"label": "cat"})
    rita = as_user("rita", "reviewer")
    made = rita.post("/datasets/pets/reviews", json={"sample_id": "s0", "reason": "hm"})
    assert made.status_code == 201
    rita.post(f"/reviews/{made.json()['id']}/decision", json={"decision": "confirm", "label": "dog", "reason": "ears"})
    rows = db.execute(select(ConfirmedAnnotation.label, ConfirmedAnnotation.supersedes_id)).all()
    assert [label for label, _ in rows] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/reviews/99999999999999999999", None, 404),
        ("GET", "/reviews/-1", None, 404),
        ("GET", "/reviews/x", None, 422),
        ("GET", "/datasets/pets/reviews?state=perhaps", None, 422),
        ("GET", "/datasets/pets/reviews?cursor=%00", None, 422),
        ("GET", "/datasets/nobody/quality", None, 404),
        ("GET", "/datasets/nobody/quality/me", None, 404),
        ("POST", "/datasets/nobody/tasks/undo", None, 404),
        ("POST", "/datasets/pets/tasks/undo", None, 404),
        ("POST", "/datasets/pets/reviews", {"sample_id": "s\u0000"}, 422),
        ("POST", "/datasets/pets/reviews", {"sample_id": "nothing"}, 404),
        ("POST", "/datasets/pets/reviews", {"sample_id": "s0", "reason": "x" * 2001}, 422),
        ("POST", "/reviews/1/decision", {"decision": "confirm"}, 422),
        ("POST", "/reviews/1/decision", {"decision": "confirm", "label": "bird"}, 422),
        ("POST", "/reviews/1/decision", {"decision": "confirm", "label": "\u0000"}, 422),
        ("POST", "/reviews/1/decision", {"decision": "reject", "reason": "a\u0000b"}, 422),
        ("POST", "/reviews/1/decision", {"decision": "reject", "reason": " "}, 422),
        ("POST", "/reviews/1/decision", {"decision": "burn"}, 422),
        ("POST", "/reviews/77/decision", {"decision": "reject", "reason": "x"}, 404),
    ],
)
def test_bad_input_gets_a_problem_document(as_user, disagreement, db, method, path, body, status) -> None:
    answer = as_user("rob", "admin").request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert db.scalars(select(Review.decision)).all() == [None]


def test_an_answer_is_taken_back_over_http(pets, as_user, db) -> None:
    pets(tasks=2, overlap=2)
    client = as_user("ben", "annotator")
    first = client.post("/datasets/pets/tasks/claim").json()
    client.post(f"/tasks/{first['id']}/annotation", json={"label": "cat"})
    client.post("/datasets/pets/tasks/claim")
    back = client.post("/datasets/pets/tasks/undo", headers={"Idempotency-Key": "u"})
    assert back.status_code == 200
    assert back.json()["task"]["id"] == first["id"]
    assert set(back.json()["task"]) == set(first)
    assert client.post("/datasets/pets/tasks/undo", headers={"Idempotency-Key": "u"}).json() == back.json()
    assert client.post(f"/tasks/{first['id']}/annotation", json={"label": "dog"}).status_code == 201


def test_undo_after_the_check_says_so(pets, as_user) -> None:
    pets(tasks=1)  # no gold questions: confirmed at once
    client = as_user("ben", "annotator")
    task = client.post("/datasets/pets/tasks/claim").json()
    client.post(f"/tasks/{task['id']}/annotation", json={"label": "cat"})
    answer = client.post("/datasets/pets/tasks/undo")
    assert answer.status_code == 409
    assert "s0) can no longer be taken back: it was confirmed; a reviewer can correct it" in answer.json()["detail"]


def test_no_route_tells_an_annotator_what_is_gold(app, pets, as_user, db) -> None:
    """Everything an annotator may ask is asked before, during and after each task: the label of a gold question comes up
    nowhere but among the classes, and what a gold task gets is what any other gets.
    """
    pets(tasks=6, gold=3, gold_every=2)
    client = as_user("ben", "annotator")
    paths = [path for path, operations in app.openapi()["paths"].items() if "get" in operations]

    def look(task: dict | None) -> dict[str, str]:
        places = {**PLACES, **({"task_id": task["id"]} if task else {})}
        # A stream is asked for what it has now: it would wait for more.
        return {
            path: client.get(path.format_map(places), params={"timeout_seconds": 0} if "stream" in path else {}).text
            for path in paths
        }

    kinds, shapes = [], []
    for number in range(9):
        task = client.post("/datasets/pets/tasks/claim").json()
        during = look(task)
        answer = client.post(f"/tasks/{task['id']}/annotation", json={"label": "cat", "seconds": 1.0})
        undone = client.post("/datasets/pets/tasks/undo")
        again = client.post(f"/tasks/{task['id']}/annotation", json={"label": "dog", "seconds": 1.0})
        after = look(task)
        for path, text in {**during, **after}.items():
            told = json.loads(text) if text.startswith(("{", "[")) and "openapi" not in path else {}
            if isinstance(told, dict):
                told.pop("classes", None)
                for item in told.get("items", ()):
                    item.pop("classes", None)
                    if path.endswith("/balance"):  # classes again, each with its count
                        assert item.pop("label") != SECRET or item["confirmed"] == 0
            assert SECRET not in json.dumps(told), path
            assert "gold_label" not in text, path
        kinds.append(db.scalars(select(AnnotationTask.kind).where(AnnotationTask.id == task["id"])).one())
        shapes.append(
            (
                sorted(task),
                answer.status_code,
                sorted(answer.json()),
                undone.status_code,
                undone.json()["task"]["id"] == task["id"],
                again.status_code,
                sorted(again.json()),
            )
        )
        assert number < 9
    assert {"gold", "label"} <= set(kinds)
    assert all(shape == shapes[0] for shape in shapes)


def test_quality_is_ones_own_or_a_reviewers_to_see(pets, as_user, disagreement) -> None:
    ann = as_user("ann", "annotator")
    mine = ann.get("/datasets/pets/quality/me").json()
    assert (mine["annotator"], mine["answers"]) == ("ann", 1)
    for path in ("/datasets/pets/quality", "/datasets/pets/reviews", f"/reviews/{disagreement}"):
        assert ann.get(path).status_code == 403
    rita = as_user("rita", "reviewer")
    everybody = rita.get("/datasets/pets/quality").json()
    assert [person["annotator"] for person in everybody["people"]] == ["ann", "bob"]
    assert everybody["agreement"]["samples"] == 1
    assert everybody["policy"]["overlap"] == 2
    assert everybody["check"] is None
    checked = rita.post("/datasets/pets/quality/checks")
    assert checked.status_code == 201
    assert checked.json()["answers"] == 2
    assert rita.get("/datasets/pets/quality").json()["check"] == checked.json()


def test_a_decision_is_in_the_audit_log(as_user, disagreement) -> None:
    as_user("rita", "reviewer").post(f"/reviews/{disagreement}/decision", json={"decision": "confirm", "label": "cat"})
    events = as_user("rob", "admin").get("/audit", params={"user": "rita"}).json()["items"]
    assert any(event["action"].startswith("POST /reviews/") and event["outcome"] == "ok" for event in events)


def test_progress_counts_what_waits_for_a_reviewer_and_not_what_was_taken_back(pets, as_user, db) -> None:
    pets(tasks=2, overlap=2)
    client = as_user("ben", "annotator")
    task = client.post("/datasets/pets/tasks/claim").json()
    client.post(f"/tasks/{task['id']}/annotation", json={"label": "cat"})
    assert client.get("/datasets/pets/progress").json()["answered_by_me"] == 1
    client.post("/datasets/pets/tasks/undo")
    assert client.get("/datasets/pets/progress").json()["answered_by_me"] == 0
    db.execute(update(AnnotationTask).values(state="open", claimed_by=None, lease_expires_at=None))
    row = db.scalars(select(AnnotationTask)).first()
    db.add(Review(dataset_id=row.dataset_id, task_id=row.id, kind="requested", reason="", owner="rita"))
    db.commit()
    assert client.get("/datasets/pets/progress").json()["in_review"] == 1
    assert db.scalars(select(Annotation.outcome)).all() == ["withdrawn"]
