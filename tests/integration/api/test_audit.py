"""The audit log of our own routes: every change, every refusal, no secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from route_places import PLACES
from sqlalchemy import event, func, select, text
from starlette.testclient import TestClient
from stored_sample import SAMPLE

from learnloop import settings
from learnloop.audit import Entry, events, forget
from learnloop.database import Annotation, AnnotationTask, AuditEvent, Batch, Dataset, engine
from learnloop.loop.upkeep import release_lapsed


@pytest.fixture
def pets(db) -> Dataset:
    made = Dataset(name="pets", task_type="image_classification", loop={"classes": ["cat", "dog"]}, owner="ada")
    db.add(made)
    db.commit()
    return made


def log(db) -> list[AuditEvent]:
    db.rollback()
    return list(db.scalars(select(AuditEvent).order_by(AuditEvent.id)))


def test_a_change_is_in_the_log_with_who_what_on_what_and_from_where(as_user, pets, db) -> None:
    client = as_user("eng", "engineer")
    answer = client.post("/datasets/pets/lock", json={"purpose": "s3cret"}, headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 200
    (event,) = log(db)
    assert (event.owner, event.action, event.resource) == ("eng", "POST /datasets/{name}/lock", "/datasets/pets/lock")
    assert (event.outcome, event.status, event.address, event.request_id) == ("ok", 200, "testclient", "abc-1")
    assert answer.headers["x-request-id"] == "abc-1"
    assert "s3cret" not in json.dumps({column: str(value) for column, value in vars(event).items()})


def test_reading_is_not_logged_and_every_answer_has_an_id(as_user, pets, db) -> None:
    client = as_user("eng", "engineer")
    ids = {client.get("/datasets").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    for bad in ("x" * 65, "a b", "a\tb", "ä"):
        headers = {"X-Request-ID": bad.encode("latin-1")}
        assert len(client.get("/datasets", headers=headers).headers["x-request-id"]) == 32
    assert log(db) == []


def test_every_route_logs_its_refusal(app, as_user, db, monkeypatch) -> None:
    monkeypatch.setenv("LEARNLOOP_RATE_LOGIN", "1000")  # else there are too many of nobody's from one address
    settings.settings.cache_clear()
    wanted = []
    for who, name in (((None,), ""), (("eve", "stranger"), "eve")):
        client = as_user(*who)
        for path, operations in app.openapi()["paths"].items():
            for method in operations:
                client.request(method, path.format_map(PLACES), json={"label": "cat"})
                wanted.append((name, f"{method.upper()} {path}", "refused"))
    named = {"POST /session/refresh": "refresh", "POST /session/logout": "logout"}
    wanted = [(name, named.get(action, action), outcome) for name, action, outcome in wanted]
    assert [(event.owner, event.action, event.outcome) for event in log(db)] == wanted


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/datasets/nobody/lock", 404),
        ("DELETE", "/nothing/here", 404),
        ("PUT", "/datasets", 405),
        ("POST", "/merges", 422),
    ],
)
def test_a_change_that_failed_is_logged_as_failed(as_user, db, method: str, path: str, status: int) -> None:
    as_user("eng", "engineer").request(method, path, json={})
    (event,) = log(db)
    assert (event.outcome, event.status, event.resource) == ("failed", status, path)


def test_what_nobody_foresaw_is_logged_as_failed(app, as_user, db) -> None:
    @app.post("/broken")
    def broken() -> None:
        raise ZeroDivisionError

    assert as_user("eng", "engineer").post("/broken").status_code == 500
    (event,) = log(db)
    assert (event.action, event.outcome, event.status) == ("POST /broken", "failed", 500)


def test_long_work_is_logged_with_how_it_ended(as_user, db, tmp_path_factory, monkeypatch) -> None:
    client = as_user("eng", "engineer")
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("LEARNLOOP_ALLOWED_ROOTS", str(empty))
    settings.settings.cache_clear()
    assert "problem" in client.post("/snapshots", json={"path": str(empty)}).text
    assert "result" in client.post("/storage/gc", json={"dry_run": True}).text
    assert [(event.action, event.outcome, event.status) for event in log(db)] == [
        ("POST /snapshots", "failed", 200),
        ("POST /storage/gc", "ok", 200),
    ]


@pytest.mark.parametrize("early", [True, False])
def test_the_end_of_long_work_counts_whenever_it_is_told(app, db, early: bool) -> None:
    entry = Entry(resource="/x", address="", request_id="r", action="POST /x", status=200)
    if early:
        entry.finish("ok")
    entry.write(unfinished=True)
    assert [event.outcome for event in log(db)] == ["ok" if early else "started"]
    entry.finish("failed")
    db.expire_all()
    assert [event.outcome for event in log(db)] == ["failed"]


def test_the_log_is_read_by_page_and_filter_and_only_with_the_right(as_user, pets, db) -> None:
    for name in ("eng", "bo", "eng"):
        as_user(name, "engineer").post("/datasets/pets/lock", json={})
    as_user("bo", "engineer").post("/session/logout")
    for role in ("engineer", "scientist", "reviewer", "annotator", "viewer"):
        assert as_user("sly", role).get("/audit").status_code == 403
    admin = as_user("ada", "admin")

    def listed(**params: str) -> list[tuple[str, str]]:
        found = admin.get("/audit", params=params)
        assert found.status_code == 200, found.text
        return [(item["user"], item["action"]) for item in found.json()["items"]]

    lock = "POST /datasets/{name}/lock"
    assert listed(user="eng") == [("eng", lock)] * 2
    assert listed(user="bo", action=lock) == [("bo", lock)]
    assert listed(user="nobody") == listed(action="login") == []
    ahead = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert listed(since=ahead) == []
    assert len(listed(since="2020-01-01T00:00:00Z")) == len(log(db)) == 9
    pages, cursor = [], None
    while True:
        got = admin.get("/audit", params={"limit": 4, **({"cursor": cursor} if cursor else {})}).json()
        pages.append([item["id"] for item in got["items"]])
        if (cursor := got["next"]) is None:
            break
    assert [len(ids) for ids in pages] == [4, 4, 1]
    ids = [number for page in pages for number in page]
    assert ids == sorted(ids, reverse=True)
    for bad in ({"since": "yesterday"}, {"since": "2020-01-01T00:00:00"}, {"user": "\x00"}, {"cursor": "x"}):
        assert admin.get("/audit", params=bad).status_code == 422, bad


def test_what_a_caller_chose_does_not_break_the_log_or_a_terminal(as_user, db) -> None:
    client = as_user("eng", "engineer")
    for path in ("/nothing/%00%1b[31m", "/nothing/" + "x" * 2000, "/nothing/%ff%fe"):
        assert client.post(path).status_code == 404
    for row in log(db):
        assert len(row.resource) <= 500
        assert row.resource.isprintable() or "\ufffd" in row.resource


def test_old_events_are_forgotten(app, as_user, pets, db) -> None:
    client = as_user("eng", "engineer")
    for _ in range(3):
        client.post("/datasets/pets/lock", json={})
    first = log(db)[0].id
    db.execute(text("UPDATE audit_events SET created_at = now() - interval '11 days' WHERE id = :id"), {"id": first})
    db.commit()
    assert forget(db, 12) == 0
    assert release_lapsed(db, audit_days=10)["audit events"] == 1
    assert len(list(db.scalars(events()))) == 2


def test_without_our_database_the_servers_log_says_what_happened(app, as_user, monkeypatch, caplog) -> None:
    from learnloop.database.engine import engine

    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    settings.settings.cache_clear()
    engine.cache_clear()
    client: TestClient = as_user("eng", "engineer")
    assert client.post("/datasets/pets/lock", json={}).status_code == 503
    assert "the audit log did not take" in caplog.text
    assert "eng" in caplog.text


@pytest.fixture
def one_task(db) -> int:
    made = Dataset(name="pets", task_type="image_classification", loop={"classes": ["cat"]}, owner="ada")
    db.add(made)
    db.flush()
    batch = Batch(dataset_id=made.id, name="b", tree="0" * 32 + ".dir", samples=1, owner="ada")
    db.add(batch)
    db.flush()
    task = AnnotationTask(dataset_id=made.id, batch_id=batch.id, sample_id="s", path="x", object=SAMPLE, owner="ada")
    db.add(task)
    db.commit()
    return task.id


def told(db) -> list[tuple[str, str, int]]:
    return [(row.action, row.outcome, row.status) for row in log(db)]


def test_a_change_and_its_row_are_one_transaction(as_user, db, one_task) -> None:
    """The row of a claim and of an answer costs no commit of its own, and is there once."""
    client = as_user("ben", "annotator")
    commits = []

    def note(connection) -> None:
        commits.append(connection)

    event.listen(engine(), "commit", note)
    client.post("/datasets/pets/tasks/claim")
    assert len(commits) == 1
    for _ in range(2):
        client.post(f"/tasks/{one_task}/annotation", json={"label": "cat"}, headers={"Idempotency-Key": "k"})
    assert client.post("/datasets/pets/tasks/claim").status_code == 204
    assert client.post(f"/tasks/{one_task}/annotation", json={"label": "dog"}).status_code == 422
    event.remove(engine(), "commit", note)
    answer = "POST /tasks/{task_id}/annotation"
    claim = "POST /datasets/{name}/tasks/claim"
    assert told(db) == [
        (claim, "ok", 200),
        (answer, "ok", 201),
        (answer, "ok", 201),
        (claim, "ok", 204),
        (answer, "failed", 422),
    ]


def test_a_change_that_cannot_be_committed_is_told_as_failed_and_not_as_done(as_user, db, one_task) -> None:
    client = as_user("ben", "annotator")
    client.post("/datasets/pets/tasks/claim")
    db.execute(
        text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON annotations DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    )
    db.commit()
    assert client.post(f"/tasks/{one_task}/annotation", json={"label": "cat"}).status_code == 500
    assert told(db)[1:] == [("POST /tasks/{task_id}/annotation", "failed", 500)]
    assert db.scalar(select(func.count()).select_from(Annotation)) == 0


def test_no_change_is_made_that_the_log_cannot_tell_of(as_user, db, one_task) -> None:
    db.execute(text("ALTER TABLE audit_events ADD CONSTRAINT refusing CHECK (status <> 200) NOT VALID"))
    db.commit()
    assert as_user("ben", "annotator").post("/datasets/pets/tasks/claim").status_code == 500
    db.rollback()
    assert db.get_one(AnnotationTask, one_task).state == "open"
