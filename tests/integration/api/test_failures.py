"""Requests that meet at one moment, and parts that fail: the caller gets one answer, and a problem document."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient
from stored_sample import SAMPLE

from learnloop.database import Annotation, AnnotationTask, Batch, Dataset, IdempotentRequest, engine
from learnloop.settings import settings
from learnloop_airflow.api import auth


@pytest.fixture
def task_id(db: Session, as_user) -> int:
    dataset = Dataset(name="pets", task_type="image_classification", loop={"classes": ["cat", "dog"]}, owner="ada")
    db.add(dataset)
    db.flush()
    batch = Batch(dataset_id=dataset.id, name="b", tree="0" * 32 + ".dir", samples=1, owner="ada")
    db.add(batch)
    db.flush()
    db.add(
        AnnotationTask(
            dataset_id=dataset.id, batch_id=batch.id, sample_id="s", path="x.png", object=SAMPLE, owner="ada"
        )
    )
    db.commit()
    return int(as_user("ben", "annotator").post("/datasets/pets/tasks/claim").json()["id"])


def test_copies_of_a_request_that_arrive_together_are_done_once(as_user, db, task_id) -> None:
    client = as_user("ben", "annotator")

    def send(_: int) -> tuple[int, str]:
        answer = client.post(f"/tasks/{task_id}/annotation", json={"label": "cat"}, headers={"Idempotency-Key": "same"})
        return answer.status_code, answer.text

    with ThreadPoolExecutor(6) as threads:
        answers = set(threads.map(send, range(6)))
    assert len(answers) == 1
    assert answers.pop()[0] == 201
    assert db.scalar(select(func.count()).select_from(Annotation)) == 1


def test_a_refused_request_may_be_put_right_under_its_key(as_user, db, task_id) -> None:
    client = as_user("ben", "annotator")
    path, key = f"/tasks/{task_id}/annotation", {"Idempotency-Key": "k"}
    assert client.post(path, json={"label": "bird"}, headers=key).status_code == 422
    assert db.scalar(select(func.count()).select_from(IdempotentRequest)) == 0
    assert client.post(path, json={"label": "cat"}, headers=key).status_code == 201
    assert as_user("eva", "annotator").post(path, json={"label": "cat"}, headers=key).status_code == 409  # her own key


def test_a_database_that_is_down_is_said_so(as_user, monkeypatch) -> None:
    client = as_user("ben", "annotator")
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    settings.cache_clear()
    engine.cache_clear()
    answer = client.get("/datasets")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:learnloop:problem:unavailable")
    assert "127.0.0.1" not in answer.text
    assert "nobody" not in answer.text


def test_an_unforeseen_error_tells_nothing_of_our_insides(app) -> None:
    def broken() -> None:
        raise RuntimeError("password=hunter2")

    app.dependency_overrides[auth.principal] = broken
    answer = TestClient(app, raise_server_exceptions=False).get("/datasets")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:learnloop:problem:internal")
    assert "hunter2" not in answer.text
