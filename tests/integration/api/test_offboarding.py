"""Somebody leaves, through the API: on real rows and files, again, and after a crash at every point."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from dataset_folders import write_dataset
from sqlalchemy import func, select

from learnloop import settings
from learnloop.audit import LOGIN
from learnloop.database import (
    AnnotationTask,
    AuditEvent,
    Batch,
    Dataset,
    DatasetBranch,
    DatasetVersion,
    Deployment,
    IssuedToken,
    Lock,
    LockRequest,
    ModelLease,
    ScoringRun,
    Workspace,
    session,
)
from learnloop.datasets import workspaces
from learnloop.datasets.branches import open_branch
from learnloop.datasets.locks import acquire_write
from learnloop.datasets.reading import read_lease
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.waiting import request_write
from learnloop.errors import Conflict
from learnloop.jobs.namespace import KINDS, namespace_of
from learnloop.people import offboarding
from learnloop.people.offboarding import find, offboard

LONG = timedelta(hours=1)


@pytest.fixture
def namespaces(app) -> Path:
    return settings.settings().namespaces


@pytest.fixture
def ann(app, db, tmp_path: Path, namespaces: Path) -> None:
    """Ann has one of everything; bo has logged in before."""
    store = Store(settings.settings().store)
    head = snapshot(db, store, write_dataset(tmp_path / "lamps", samples=4), owner="ann", message="")
    other = snapshot(db, store, write_dataset(tmp_path / "fans", name="fans", samples=4), owner="bo", message="")
    db.commit()
    made = workspaces.create(
        session,
        store,
        head.name,
        owner="ann",
        name="mine",
        namespaces=namespaces,
        quota=workspaces.Quota(5, 2**30),
        lasts=LONG,
        key="k",
    )
    (Path(made.path) / "note.txt").write_text("unsaved")
    workspaces.commit(session, store, "mine", owner="ann", message="personal")
    (Path(made.path) / "note.txt").write_text("unsaved, once more")
    with session() as rows:
        head, other = rows.get_one(DatasetVersion, head.id), rows.get_one(DatasetVersion, other.id)
        acquire_write(rows, head.dataset, "ann", LONG)
        acquire_write(rows, other.dataset, "bo", LONG)
        request_write(rows, other.dataset, "ann", LONG, key="w")
        open_branch(rows, other.dataset, "ann", other, LONG, key="b")
        read_lease(rows, head, "ann", LONG)
        read_lease(rows, head, "bo", LONG)
        batch = Batch(dataset_id=head.dataset_id, name="b", tree="0" * 32 + ".dir", samples=3, owner="ann")
        rows.add(batch)
        rows.flush()
        for number, (kind, who) in enumerate((("label", "ann"), ("gold", "ann"), ("label", "bo"))):
            task = AnnotationTask(dataset_id=head.dataset_id, batch_id=batch.id, kind=kind, sample_id=f"s{number}")
            task.path, task.object, task.owner, task.state, task.claimed_by = "x", "0" * 32, "ada", "claimed", who
            task.gold_label = "dark" if kind == "gold" else None
            task.lease_expires_at = func.now() + LONG
            rows.add(task)
        results = namespace_of(namespaces, "results", "ann")
        run = ScoringRun(dataset_id=head.dataset_id, batch_id=batch.id, run_id="r", model_name="lamps", model_version=1)
        run.predictions, run.strategy = str(results / "predictions" / "r"), "random"
        run.scored = run.chosen = 0
        run.owner = "ann"
        rows.add(run)
        served = {"dataset_id": head.dataset_id, "model_name": "lamps", "alias": "base", "model_version": 1}
        rows.add(Deployment(**served, owner="ann"))
        lease = {"model_name": "lamps", "model_version": 1, "expires_at": func.now() + LONG}
        rows.add_all([ModelLease(**lease, holder="a", owner="ann"), ModelLease(**lease, holder="b", owner="bo")])
        for jti, who in (("1" * 32, "ann"), ("2" * 32, "ann"), ("3" * 32, "bo")):
            rows.add(IssuedToken(jti=jti, owner=who, expires_at=func.now() + LONG))
        event = {"action": LOGIN, "resource": "/auth/token", "outcome": "ok", "status": 201, "address": ""}
        rows.add(AuditEvent(owner="bo", request_id="x", **event))
    for kind in KINDS:
        place = namespace_of(namespaces, kind, "ann") / "job" / "file"
        place.parent.mkdir(parents=True)
        place.write_text(kind)


@pytest.fixture
def revoked(monkeypatch) -> list[str]:
    """The ids that Airflow was told to revoke (tests/integration/identity asks the real one)."""
    from learnloop_airflow.api.routes import users

    told: list[str] = []
    monkeypatch.setattr(users, "_revoke", lambda token: told.append(token.jti))
    return told


def leave(client, **body) -> dict:
    answer = client.post("/users/offboard", json={"name": "ann", **body})
    assert answer.status_code == 200, answer.text
    said = json.loads(answer.text.splitlines()[-1])
    assert "result" in said, said
    return said["result"]


def left(db, namespaces: Path, name: str = "ann") -> dict:
    """What there still is of somebody."""
    db.rollback()
    db.expire_all()
    found = vars(find(db, name, "x", namespaces))
    return {what: value for what, value in found.items() if value and what not in ("name", "to")}


FOUND = {
    "tokens": 2,
    "annotation_leases": 2,
    "write_locks": ["lamps"],
    "read_leases": 1,
    "places_in_line": 1,
    "branches": ["fans_v1.1"],
    "model_leases": 1,
    "datasets": ["lamps"],
    "deployments": ["lamps:base"],
    "workspaces": ["mine"],
}


def check_handed_over(db, namespaces: Path, to: str) -> None:
    assert left(db, namespaces) == {}
    assert {row.owner for row in db.scalars(select(Lock))} == {"bo"}
    assert list(db.scalars(select(LockRequest))) == []
    assert db.scalars(select(DatasetBranch)).one().state == "abandoned"
    assert {row.owner for row in db.scalars(select(ModelLease))} == {"bo"}
    assert [row.jti for row in db.scalars(select(IssuedToken))] == ["3" * 32]
    tasks = list(db.scalars(select(AnnotationTask).order_by(AnnotationTask.id)))
    assert [(task.state, task.claimed_by) for task in tasks] == [("open", None), ("cancelled", None), ("claimed", "bo")]
    assert db.scalars(select(Dataset).where(Dataset.name == "lamps")).one().owner == to
    assert db.scalars(select(Deployment)).one().owner == to
    (personal,) = db.scalars(select(DatasetVersion).where(DatasetVersion.personal_to.is_not(None)))
    assert (personal.personal_to, personal.owner) == (to, "ann")  # who made it stays said
    workspace = db.scalars(select(Workspace)).one()
    assert (workspace.owner, workspace.key) == (to, None)
    assert (Path(workspace.path) / "note.txt").read_text() == "unsaved, once more"
    assert Path(workspace.path).is_relative_to(namespace_of(namespaces, "data", to))
    for kind in ("data", "results", "models"):
        assert not namespace_of(namespaces, kind, "ann").exists()
        assert (namespace_of(namespaces, kind, to) / "from--ann" / "job" / "file").read_text() == kind
    run = db.scalars(select(ScoringRun)).one()
    assert run.predictions == str(namespace_of(namespaces, "results", to) / "from--ann" / "predictions" / "r")


def test_a_dry_run_says_all_and_changes_nothing(ann, as_user, db, namespaces, revoked) -> None:
    before = left(db, namespaces)
    said = leave(as_user("ada", "admin"), to="bo", dry_run=True)
    assert FOUND.items() <= said.items()
    assert (said["dry_run"], len(said["versions"]), len(said["folders"])) == (True, 1, 3)
    assert left(db, namespaces) == before
    assert revoked == []


def test_what_was_theirs_is_anothers_and_what_they_held_is_free(ann, as_user, db, namespaces, revoked) -> None:
    admin = as_user("ada", "admin")
    assert FOUND.items() <= leave(admin, to="bo").items()
    assert sorted(revoked) == ["1" * 32, "2" * 32]
    check_handed_over(db, namespaces, "bo")
    again = leave(admin, to="bo")
    assert not any(value for what, value in again.items() if what not in ("name", "to"))
    check_handed_over(db, namespaces, "bo")
    bo = as_user("bo", "scientist")
    (workspace,) = bo.get("/workspaces").json()["items"]
    assert workspace["name"].startswith("mine-")
    assert bo.get(f"/workspaces/{workspace['name']}/changes").status_code == 200
    assert as_user("ann", "scientist").get("/workspaces").json()["items"] == []
    event = db.scalars(select(AuditEvent).where(AuditEvent.owner == "ada").order_by(AuditEvent.id)).first()
    assert (event.action, event.outcome) == ("POST /users/offboard", "ok")
    assert event.resource == "/users/offboard ann to bo"


def test_what_is_archived_is_nobodys_until_it_is_taken_out(ann, as_user, db, namespaces, revoked) -> None:
    admin = as_user("ada", "admin")
    assert leave(admin, archive=True)["to"] == "archive:ann"
    check_handed_over(db, namespaces, "archive:ann")
    assert db.scalars(select(Workspace)).one().expires_at is None
    # Somebody who is called ann later finds nothing.
    assert as_user("ann", "scientist").get("/workspaces").json()["items"] == []
    admin = as_user("ada", "admin")
    leave(admin, name="archive:ann", to="bo")
    assert left(db, namespaces, "archive:ann") == {}
    assert db.scalars(select(Workspace)).one().owner == "bo"


POINTS = (
    "offboard.tokens-revoked",
    "offboard.rows-handed-over",
    "offboard.workspace-files-moved",
    "offboard.workspaces-moved",
)


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_is_made_good_by_doing_it_again(
    ann, db, namespaces, monkeypatch, database_url: str, point: str
) -> None:
    class Crash(BaseException):
        pass

    def reach(name: str) -> None:
        if name == point:
            raise Crash

    monkeypatch.setattr(offboarding, "reach", reach)
    go = partial(offboard, session, "ann", "bo", namespaces=namespaces, revoke=lambda token: None)
    with pytest.raises(Crash):
        go()
    monkeypatch.undo()
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    go()
    check_handed_over(db, namespaces, "bo")


def test_an_earlier_persons_folder_is_not_overwritten(ann, namespaces) -> None:
    (namespace_of(namespaces, "models", "bo") / "from--ann").mkdir(parents=True)
    with pytest.raises(Conflict, match="an earlier ann"):
        offboard(session, "ann", "bo", namespaces=namespaces, revoke=lambda token: None)


def test_a_workspace_that_is_just_being_made_is_waited_for(ann, db, namespaces) -> None:
    busy = namespace_of(namespaces, "data", "ann") / "workspaces" / ".new.99"
    busy.mkdir()
    go = partial(offboard, session, "ann", "bo", namespaces=namespaces, revoke=lambda token: None)
    with pytest.raises(Conflict, match="again in a minute"):
        go()
    busy.rmdir()
    go()
    check_handed_over(db, namespaces, "bo")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "somebody, or into the archive"),
        ({"to": "bo", "archive": True}, "somebody, or into the archive"),
        ({"to": "nobody-at-all"}, "never logged in"),
        ({"to": "ann"}, "cannot have their own"),
        ({"to": "service:learnloop"}, "never logged in"),
        ({"to": "archive:bo"}, "never logged in"),
        ({"name": "ada", "to": "bo"}, "cannot offboard themselves"),
        ({"name": "service:learnloop", "to": "bo"}, "does not leave"),
        ({"name": "archive:ann", "archive": True}, "archive already"),
        ({"name": "a\x00", "to": "bo"}, ""),
        ({"name": ""}, ""),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(ann, as_user, db, namespaces, body, said) -> None:
    before = left(db, namespaces)
    answer = as_user("ada", "admin").post("/users/offboard", json={"name": "ann", **body})
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]
    assert left(db, namespaces) == before


@pytest.mark.parametrize("role", ["engineer", "scientist", "reviewer", "annotator", "viewer"])
def test_only_an_admin_may(as_user, role: str) -> None:
    assert as_user("eng", role).post("/users/offboard", json={"name": "ann", "to": "eng"}).status_code == 403
