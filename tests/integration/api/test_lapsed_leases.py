"""A lease that has ended, over HTTP: what is refused then, in which words, and what is taken all the same."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text
from test_reviews_api import pets  # noqa: F401

from learnloop.annotation.queue import release_lapsed
from learnloop.database import Annotation, AnnotationTask


@pytest.fixture
def lapsed(app, pets, as_user, db) -> int:  # noqa: F811
    """A task of ann's whose lease ended a second ago."""
    pets(tasks=1)
    task = as_user("ann", "annotator").post("/datasets/pets/tasks/claim").json()["id"]
    db.execute(text("UPDATE annotation_tasks SET lease_expires_at = now() - interval '1 second'"))
    db.commit()
    return int(task)


WAYS = {
    "annotation": {"label": "dog"},
    "skip": {"reason": "Damaged"},
    "renew": None,
}


def ask(client, task: int, way: str):
    return client.post(f"/tasks/{task}/{way}", json=WAYS[way])


def said(answer, status: int) -> tuple[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    return body["type"].removeprefix("urn:learnloop:problem:"), body["detail"]


@pytest.mark.parametrize("way", WAYS)
def test_once_somebody_else_has_the_task_all_is_refused_and_nothing_is_stored(as_user, db, lapsed, way) -> None:
    assert as_user("bob", "annotator").post("/datasets/pets/tasks/claim").json()["id"] == lapsed
    refused = ask(as_user("ann", "annotator"), lapsed, way)
    assert said(refused, 403) == ("permission-denied", f"task {lapsed} is bob's: claim a task of your own")
    assert db.scalar(select(func.count()).select_from(Annotation)) == 0
    task = db.get_one(AnnotationTask, lapsed)
    assert (task.state, task.claimed_by) == ("claimed", "bob")
    assert ask(as_user("bob", "annotator"), lapsed, way).status_code in (200, 201)


@pytest.mark.parametrize("way", ["skip", "renew"])
def test_back_in_the_queue_it_is_neither_kept_nor_skipped(as_user, db, lapsed, way) -> None:
    release_lapsed(db)
    db.commit()
    kind, detail = said(ask(as_user("ann", "annotator"), lapsed, way), 410)
    assert kind == "lease-lapsed"
    assert detail == f"the lease of task {lapsed} has lapsed and the task is back in the queue: claim again"
    assert db.scalar(select(func.count()).select_from(Annotation)) == 0


@pytest.mark.parametrize("returned", [False, True])
def test_an_answer_that_comes_late_is_not_lost_while_nobody_else_has_the_task(as_user, db, lapsed, returned) -> None:
    if returned:
        release_lapsed(db)
        db.commit()
    assert ask(as_user("ann", "annotator"), lapsed, "annotation").status_code == 201
    assert db.scalars(select(Annotation.label)).all() == ["dog"]


def test_who_never_had_it_may_not_answer_it_late(as_user, db, lapsed) -> None:
    release_lapsed(db)
    db.commit()
    kind, detail = said(ask(as_user("bob", "annotator"), lapsed, "annotation"), 403)
    assert (kind, detail) == ("permission-denied", f"task {lapsed} is in the queue and not bob's: claim a task first")
    assert db.scalar(select(func.count()).select_from(Annotation)) == 0
