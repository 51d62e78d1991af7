"""The operators of `dataset_merge` on real PostgreSQL. Airflow's API is a small server here that knows four people;
tests/integration/stack/test_people.py asks the real one."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from merges import changed, labels_of

from learnloop import settings
from learnloop.database.engine import engine
from learnloop.datasets.merge.requests import get_merge
from learnloop.datasets.merge.stored import conflicts_of
from learnloop.datasets.versions import get_version, head_of
from learnloop.errors import Conflict, InvalidInput, PermissionDenied, Unavailable

PEOPLE = {"ben": ["scientist"], "vera": ["viewer"], "gone": ["admin"], "root": ["Admin", "admin"]}


class Airflow(BaseHTTPRequestHandler):
    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.path == "/auth/token" and given == {"username": "asker", "password": "p/w"}
        self.answer(201 if right else 401, {"access_token": "t"})

    def do_GET(self):
        name = self.path.removeprefix("/auth/fab/v1/users/")
        if self.headers["Authorization"] != "Bearer t":
            self.answer(401, {})
        elif name not in PEOPLE:
            self.answer(404, {})
        else:
            self.answer(200, {"active": name != "gone", "roles": [{"name": role} for role in PEOPLE[name]]})

    def answer(self, status, content):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def airflow(monkeypatch, tmp_path, database_url, store):
    """Airflow's people, and Learnloop's settings for the operators."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Airflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AIRFLOW_CONN_LEARNLOOP_PEOPLE", f"http://asker:p%2Fw@127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_STORE", str(store.root))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings.settings.cache_clear()
    engine.cache_clear()
    yield server
    server.shutdown()
    server.server_close()
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


@pytest.fixture
def theirs(db, store, head):
    made = {"annotator": "ben", "annotated_at": datetime(2026, 5, 1, tzinfo=UTC)}
    branch = changed(db, store, head, user="ben", records={"s000": {"label": "bright", **made}})
    changed(db, store, head, records={"s000": {"label": None}, "s001": {"label": "dark"}})
    return branch.name


def context(user):
    return {"dag_run": SimpleNamespace(triggering_user_name=user)}


def open_merge(theirs, user="ben", dataset="lamps", **options):
    from learnloop_airflow.operators.merge import OpenMergeOperator

    return OpenMergeOperator(task_id="open", dataset=dataset, version=theirs, **options).execute(context(user))


def decide(opened, choice, who):
    from learnloop_airflow.operators.merge import DecideMergeOperator

    event = {
        "chosen_options": [choice],
        "params_input": {},
        "responded_at": datetime(2026, 5, 2, tzinfo=UTC),
        "responded_by_user": who and {"id": "7", "name": who},
    }
    return DecideMergeOperator(task_id="decide", merge=opened).execute_complete(context("ben"), event)


def complete(opened):
    from learnloop_airflow.operators.merge import MergeOperator

    return MergeOperator(task_id="merge", merge=opened).execute(context("ben"))


def test_a_person_decides(airflow, db, store, theirs):
    opened = open_merge(theirs)
    assert (opened["conflicts"], opened["unanswered"]) == (1, 1)
    with pytest.raises(Conflict, match=r"1 of 1 conflicts have no answer\. Answer them at http"):
        complete(opened)
    assert decide(opened, "theirs", "ben") == {"merge_id": opened["merge_id"], "choice": "theirs", "by": "ben"}
    made = complete(opened)
    assert complete(opened) == made
    version = get_version(db, made["version"])
    assert labels_of(store, version)["s000"] == "bright"
    assert version.parents[1].name == theirs
    [row] = conflicts_of(db, get_merge(db, opened["merge_id"]))
    assert (row.answered_by, row.answer) == ("ben", "theirs")


@pytest.mark.parametrize("who", ["vera", "nobody", "gone", None])
def test_who_may_not_merge_decides_nothing(airflow, db, head, theirs, who):
    opened = open_merge(theirs)
    for choice in ("theirs", "cancel"):
        with pytest.raises(PermissionDenied):
            decide(opened, choice, who)
    merge = get_merge(db, opened["merge_id"])
    assert merge.state == "open"
    assert conflicts_of(db, merge)[0].answer is None
    with pytest.raises(PermissionDenied):
        open_merge(theirs, user=who or "nobody")


def test_another_ones_personal_version_is_for_its_owner_and_admins(airflow, monkeypatch, theirs):
    monkeypatch.setitem(PEOPLE, "eva", ["scientist"])
    with pytest.raises(PermissionDenied, match="it belongs to ben"):
        open_merge(theirs, user="eva")
    assert open_merge(theirs, user="root")["unanswered"] == 1


def test_nobody_is_let_through_when_airflow_cannot_be_asked(airflow, monkeypatch, theirs):
    opened = open_merge(theirs)
    monkeypatch.setenv("AIRFLOW_CONN_LEARNLOOP_PEOPLE", "http://asker:wrong@127.0.0.1:9")
    with pytest.raises(Unavailable, match="learnloop_people"):
        decide(opened, "theirs", "ben")
    port = airflow.server_address[1]
    monkeypatch.setenv("AIRFLOW_CONN_LEARNLOOP_PEOPLE", f"http://asker:wrong@127.0.0.1:{port}")
    with pytest.raises(Unavailable, match="401"):
        decide(opened, "theirs", "ben")


def test_a_strategy_asks_nobody(airflow, db, head, theirs):
    from learnloop_airflow.operators.merge import DecideMergeOperator

    opened = open_merge(theirs, strategy="newest", message="mine")
    assert opened["unanswered"] == 0
    assert DecideMergeOperator(task_id="decide", merge=opened).execute(context("ben"))["choice"] is None
    made = complete(opened)
    assert get_version(db, made["version"]).message == "mine"


def test_cancelled(airflow, db, head, theirs):
    from airflow.sdk.exceptions import AirflowSkipException

    before = head_of(db, head.dataset).id
    opened = open_merge(theirs)
    decide(opened, "cancel", "ben")
    with pytest.raises(AirflowSkipException, match="cancelled by ben"):
        complete(opened)
    db.expire_all()
    assert head_of(db, head.dataset).id == before


def test_a_version_of_another_dataset(airflow, theirs):
    with pytest.raises(InvalidInput, match="is a version of lamps, not of other"):
        open_merge(theirs, dataset="other")
