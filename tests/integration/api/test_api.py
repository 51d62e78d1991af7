"""Every route fails closed; every error is a problem document; a write is done once."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from route_places import PLACES
from sqlalchemy.orm import Session

from learnloop.database import Annotation, AnnotationTask, Batch, Dataset
from learnloop.datasets.store import Store
from learnloop.permissions import PERMISSIONS, TABLE
from learnloop_airflow.api.app import create_app
from learnloop_airflow.api.routes import session as session_routes
from learnloop_airflow.api.routing import unguarded

PREDICTION = {
    "label": "cat",
    "confidence": 0.5,
    "uncertainty": 0.9,
    "probabilities": {"cat": 0.5, "dog": 0.5},
    "model_version": 1,
}


@pytest.fixture
def dataset(db: Session, tmp_path) -> Dataset:
    loop = {"classes": ["cat", "dog"], "policy": {"labels": 2}}
    made = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
    db.add(made)
    db.flush()
    batch = Batch(dataset_id=made.id, name="b", tree="0" * 32 + ".dir", samples=3, owner="ada")
    db.add(batch)
    db.flush()
    name = Store(tmp_path / "store").add_bytes(b"\x89PNG not really")
    for n in range(3):
        db.add(
            AnnotationTask(
                dataset_id=made.id,
                batch_id=batch.id,
                sample_id=f"s{n}",
                path=f"{n}.png",
                object=name,
                prediction=PREDICTION,
                reason={"strategy": "random", "rank": n},
                owner="ada",
            )
        )
    db.commit()
    return made


def routes(app) -> list[tuple[str, str, str]]:
    """Method, path and permission of every route the application has, seen from outside and from inside."""
    found = []
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            found.append((method.upper(), path, operation.get("x-permission", "")))
    unlisted = {"/openapi.json": "session:read", "/metrics": "metrics:read", "/metrics/loop": "metrics:read"}
    return [*found, *(("GET", path, permission) for path, permission in unlisted.items())]


def test_every_route_demands_a_permission_that_exists(app) -> None:
    assert len(routes(app)) > 15
    for method, path, permission in routes(app):
        assert permission in PERMISSIONS, (method, path)


def test_no_route_answers_without_a_token_or_for_a_role_nobody_knows(app, as_user, dataset) -> None:
    for who, status in (((None,), 401), (("eve", "stranger"), 403)):
        client = as_user(*who)
        for method, path, _ in routes(app):
            answer = client.request(method, path.format_map(PLACES), json={"label": "cat"})
            assert answer.status_code == status, (method, path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "add",
    [
        lambda app: app.get("/open")(lambda: "hello"),
        lambda app: app.get("/hidden", include_in_schema=False)(lambda: "hello"),
        lambda app: app.get("/lies", openapi_extra={"x-permission": "audit:read"})(lambda: "hello"),
        lambda app: app.mount("/below", FastAPI()),
        lambda app: app.router.add_route("/plain", lambda request: None),
        lambda app: app.router.add_websocket_route("/socket", lambda socket: None),
    ],
)
def test_a_route_without_a_guard_is_found(app, add) -> None:
    assert unguarded(app) == []
    add(app)
    assert len(unguarded(app)) == 1


def test_an_application_with_an_open_route_is_not_made(monkeypatch) -> None:
    open_to_all = APIRouter()
    open_to_all.add_api_route("/open", lambda: "hello")
    monkeypatch.setattr(session_routes.routes, "router", open_to_all)
    with pytest.raises(RuntimeError, match="GET /open"):
        create_app()


def test_the_walks_of_all_routes_miss_none(app) -> None:
    """What they walk is the OpenAPI document; here is that nothing is beside it."""
    served = {(method, route.path) for route in app.routes for method in route.methods}
    assert served == {(method, path) for method, path, _ in routes(app)}


@pytest.mark.parametrize("role", [role for role in TABLE if role != "service"])
def test_every_route_refuses_just_the_roles_without_its_permission(app, as_user, dataset, role: str) -> None:
    client = as_user("ben", role)
    for method, path, permission in routes(app):
        if permission in TABLE[role] and method != "GET":
            continue  # it would do what it is for
        answer = client.request(method, path.format_map(PLACES), json={"label": "cat"}, params={"timeout_seconds": 0})
        status = answer.status_code
        assert (status == 403) == (permission not in TABLE[role]), (method, path, status)


def test_a_viewer_may_look_but_not_write(app, as_user, dataset) -> None:
    client = as_user("vic", "viewer")
    for method, path, _ in routes(app):
        if method != "GET" and not path.startswith("/session/"):  # their own session is theirs to end
            answer = client.request(method, path.format_map(PLACES), json={"label": "cat"})
            assert answer.status_code == 403, (method, path)
    assert client.get("/datasets/pets").status_code == 200


def test_the_way_of_one_label(as_user, dataset, db) -> None:
    client = as_user("ben", "annotator")
    task = client.post("/datasets/pets/tasks/claim").json()
    assert task["prediction"]["label"] == "cat"
    assert task["classes"] == ["cat", "dog"]
    assert not {"kind", "gold_label"} & set(task)
    content = client.get(f"/tasks/{task['id']}/content")
    assert content.content == b"\x89PNG not really"
    assert content.headers["content-type"] == "image/png"
    assert "sandbox" in content.headers["content-security-policy"]
    answer = {"label": "dog", "seconds": 1.5}
    once, again = (
        client.post(f"/tasks/{task['id']}/annotation", json=answer, headers={"Idempotency-Key": "k1"}) for _ in range(2)
    )
    assert once.status_code == again.status_code == 201
    assert once.json() == again.json()
    assert set(once.json()) == {"id", "task_id", "received"}
    other = client.post(f"/tasks/{task['id']}/annotation", json={"label": "cat"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 422
    assert db.query(Annotation).count() == 1
    assert client.get("/datasets/pets/progress").json()["reason"] == "1 more label needed"


def test_a_task_is_nobody_elses_to_see(as_user, dataset) -> None:
    task = as_user("ben", "annotator").post("/datasets/pets/tasks/claim").json()
    assert as_user("eva", "annotator").get(f"/tasks/{task['id']}").status_code == 404
    assert as_user("eva", "annotator").get(f"/tasks/{task['id']}/content").status_code == 404
    assert as_user("rita", "reviewer").get(f"/tasks/{task['id']}").status_code == 200


def test_an_empty_queue_is_no_content(as_user, dataset) -> None:
    client = as_user("ben", "annotator")
    for _ in range(3):
        task = client.post("/datasets/pets/tasks/claim").json()
        client.post(f"/tasks/{task['id']}/annotation", json={"label": "cat"})
    assert client.post("/datasets/pets/tasks/claim").status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/tasks/1/annotation", {"label": "bird"}, 422),
        ("POST", "/tasks/1/annotation", {"label": "cat", "comment": "x" * 2001}, 422),
        ("POST", "/tasks/1/annotation", {"label": "cat", "seconds": -1}, 422),
        ("POST", "/tasks/1/annotation", {}, 422),
        ("POST", "/tasks/999999/annotation", {"label": "cat"}, 404),
        ("POST", "/tasks/99999999999999999999/annotation", {"label": "cat"}, 404),
        ("GET", "/datasets/nobody", None, 404),
        ("GET", "/datasets/..%2f..%2fetc", None, 404),
        ("GET", "/datasets?limit=0", None, 422),
        ("GET", "/datasets?cursor=%00", None, 422),
        ("GET", "/datasets?cursor=AAAA", None, 422),
        ("GET", "/nothing/here", None, 404),
        ("DELETE", "/datasets", None, 405),
    ],
)
def test_bad_input_gets_a_problem_document(as_user, dataset, method, path, body, status) -> None:
    answer = as_user("rob", "admin").request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].startswith("urn:learnloop:problem:")
    assert answer.json()["detail"]


def test_lists_are_paged(as_user, db) -> None:
    for n in range(5):
        db.add(Dataset(name=f"d{n}", task_type="image_classification", loop={}, owner="ada"))
    db.commit()
    client = as_user("vic", "viewer")
    names, cursor = [], None
    while True:
        found = client.get("/datasets", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        names += [item["name"] for item in found["items"]]
        cursor = found["next"]
        if cursor is None:
            break
    assert names == ["d4", "d3", "d2", "d1", "d0"]
