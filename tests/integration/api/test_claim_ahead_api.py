"""The task to follow, and giving back, over HTTP: nobody learns from it what is gold."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from test_reviews_api import SECRET, pets  # noqa: F401

from learnloop.database import AnnotationTask, AuditEvent


def test_a_page_works_with_two_tasks_and_gives_back_what_it_holds(pets, as_user, db) -> None:  # noqa: F811
    pets(tasks=5)
    ann = as_user("ann", "annotator")
    first = ann.post("/datasets/pets/tasks/claim").json()
    ahead = ann.post("/datasets/pets/tasks/claim", params={"beside": first["id"]}).json()
    assert ahead["id"] != first["id"]
    assert ann.get(f"/tasks/{ahead['id']}").status_code == 200  # hers to look at already
    assert ann.post(f"/tasks/{first['id']}/annotation", json={"label": "cat"}).status_code == 201
    assert ann.delete(f"/tasks/{ahead['id']}/claim").json() == {"released": True}
    assert ann.get(f"/tasks/{ahead['id']}").status_code == 404
    assert as_user("bob", "annotator").post("/datasets/pets/tasks/claim").json()["id"] == ahead["id"]
    told = db.scalars(select(AuditEvent).where(AuditEvent.action.contains("claim")).order_by(AuditEvent.id)).all()
    assert [(event.owner, event.outcome) for event in told][:3] == [("ann", "ok")] * 3


def test_giving_back_what_one_does_not_hold_changes_nothing(pets, as_user, db) -> None:  # noqa: F811
    pets(tasks=2)
    task = as_user("ann", "annotator").post("/datasets/pets/tasks/claim").json()["id"]
    bob = as_user("bob", "annotator")
    assert bob.delete(f"/tasks/{task}/claim").status_code == 200
    assert bob.delete("/tasks/99999/claim").status_code == 404
    assert as_user("vera", "viewer").delete(f"/tasks/{task}/claim").status_code == 403
    db.expire_all()
    assert db.get_one(AnnotationTask, task).claimed_by == "ann"


@pytest.mark.parametrize("beside", ["0", "-1", "2147483648", "x", "1.5"])
def test_what_is_no_task_is_refused(pets, as_user, beside: str) -> None:  # noqa: F811
    pets(tasks=2)
    answer = as_user("ann", "annotator").post("/datasets/pets/tasks/claim", params={"beside": beside})
    assert answer.status_code == 422
    assert "beside" in answer.text


def test_what_is_given_back_looks_the_same_whether_it_is_gold_or_not(pets, as_user, db) -> None:  # noqa: F811
    """Whatever an annotator tries on a task that they gave back, or put down for another."""
    pets(tasks=6, gold=2, gold_every=2)
    ann = as_user("ann", "annotator")

    def tried(task: int) -> list[object]:
        said = [ann.get(f"/tasks/{task}"), ann.get(f"/tasks/{task}/content"), ann.post(f"/tasks/{task}/renew")]
        said.append(ann.post(f"/tasks/{task}/annotation", json={"label": "cat"}))
        said.append(ann.post(f"/tasks/{task}/skip", json={"reason": "x"}))
        shown = [(answer.status_code, answer.text.replace(f"task {task} ", "task N ")) for answer in said]
        return [*shown, ann.get("/datasets/pets/progress").json()["open_tasks"] - before]

    kinds, given_back, put_down = [], [], []
    for _ in range(4):
        task = ann.post("/datasets/pets/tasks/claim").json()["id"]
        kinds.append(db.scalars(select(AnnotationTask.kind).where(AnnotationTask.id == task)).one())
        before = ann.get("/datasets/pets/progress").json()["open_tasks"]
        assert ann.delete(f"/tasks/{task}/claim").json() == {"released": True}
        given_back.append(tried(task))
        assert ann.post(f"/tasks/{task}/claim").json()["id"] == task
        ordinary = AnnotationTask.state == "open", AnnotationTask.kind == "label"
        other = db.scalars(select(AnnotationTask.id).where(*ordinary).order_by(AnnotationTask.id.desc())).first()
        before = ann.get("/datasets/pets/progress").json()["open_tasks"]
        assert ann.post(f"/tasks/{other}/claim").status_code == 200
        put_down.append(tried(task))
        assert ann.post(f"/tasks/{task}/claim").json()["id"] == task
        assert ann.post(f"/tasks/{task}/annotation", json={"label": "cat"}).status_code == 201
        db.rollback()
    assert kinds == ["label", "label", "gold", "label"]
    assert given_back == [given_back[0]] * 4
    assert put_down == [put_down[0]] * 4
    assert SECRET not in str(given_back)
