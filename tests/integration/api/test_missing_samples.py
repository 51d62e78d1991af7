"""Nobody answers about a sample that is not there to be seen: what is said then, and that nothing is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from sent_statements import counted
from sqlalchemy import func, select
from starlette.testclient import TestClient
from stored_sample import CONTENT, SAMPLE, put_sample
from test_reviews_api import pets  # noqa: F401

from learnloop.database import Annotation, AnnotationTask
from learnloop.datasets.store import Store
from learnloop.settings import settings
from learnloop_airflow.api import samples


@pytest.fixture
def stored() -> Path:
    """The file of the object that all tasks are about."""
    return Store(settings().store).path_of(SAMPLE)


@pytest.fixture
def ann(app, pets, as_user) -> TestClient:  # noqa: F811
    pets(tasks=3)
    return as_user("ann", "annotator")


def claimed(client: TestClient) -> int:
    return int(client.post("/datasets/pets/tasks/claim").json()["id"])


def damage(stored: Path) -> None:
    stored.chmod(0o644)
    stored.write_bytes(b"b sample")


def remove(stored: Path) -> None:
    stored.unlink()


def detail(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert str(settings().home) not in answer.text
    return str(answer.json()["detail"])


@pytest.mark.parametrize(("fault", "status", "said"), [(remove, 404, "not in the store"), (damage, 409, "damaged")])
def test_the_content_route_says_what_is_wrong_and_no_path_of_the_server(ann, stored, fault, status, said) -> None:
    task = claimed(ann)
    assert ann.get(f"/tasks/{task}/content").content == CONTENT
    fault(stored)
    words = detail(ann.get(f"/tasks/{task}/content"), status)
    assert said in words
    assert "skip it as damaged" in words


@pytest.mark.parametrize("looked", [True, False])
@pytest.mark.parametrize("fault", [remove, damage])
def test_an_answer_about_it_is_refused_and_nothing_is_stored_but_a_skip_is_taken(
    ann, stored, db, fault, looked
) -> None:
    task = claimed(ann)
    if looked:
        ann.get(f"/tasks/{task}/content")
    fault(stored)
    key = {"Idempotency-Key": "k"}
    for _ in range(2):
        words = detail(ann.post(f"/tasks/{task}/annotation", json={"label": "cat"}, headers=key), 409)
        assert words.startswith(f"the sample of task {task} is gone or damaged")
    assert db.scalar(select(func.count()).select_from(Annotation)) == 0
    row = db.get_one(AnnotationTask, task)
    assert (row.state, row.claimed_by) == ("claimed", "ann")

    put_sample(settings().store)
    if fault is damage:
        Store(settings().store).put_from(SAMPLE, _as_file(stored))
    assert ann.post(f"/tasks/{task}/annotation", json={"label": "cat"}, headers=key).status_code == 201

    fault(stored)
    other = claimed(ann)
    assert ann.post(f"/tasks/{other}/skip", json={"reason": "Damaged"}).status_code == 200


def test_an_answer_that_was_taken_is_still_answered_the_same_when_its_sample_is_gone_since(ann, stored) -> None:
    """After a lost reply it is sent again under its key: it counts, whatever became of the sample."""
    task = claimed(ann)
    sent = {"json": {"label": "cat"}, "headers": {"Idempotency-Key": "k"}}
    first = ann.post(f"/tasks/{task}/annotation", **sent)
    remove(stored)
    assert ann.post(f"/tasks/{task}/annotation", **sent).json() == first.json()


def test_who_asks_another_process_than_the_one_that_handed_it_out_is_judged_the_same(ann, stored) -> None:
    task, other = claimed(ann), None
    samples._objects.clear()
    with counted() as sent:
        assert ann.post(f"/tasks/{task}/annotation", json={"label": "cat"}).status_code == 201
    assert sum("annotation_tasks.object" in each for each in sent) == 1
    other = claimed(ann)
    samples._objects.clear()
    remove(stored)
    detail(ann.post(f"/tasks/{other}/annotation", json={"label": "cat"}), 409)


def test_what_is_wrong_with_the_task_is_said_as_ever(ann, stored, as_user) -> None:
    remove(stored)
    for missing in (999_999, 2**31):
        assert "there is no task" in detail(ann.post(f"/tasks/{missing}/annotation", json={"label": "cat"}), 404)


def _as_file(stored: Path) -> Path:
    whole = stored.parent / "whole"
    whole.write_bytes(CONTENT)
    return whole
