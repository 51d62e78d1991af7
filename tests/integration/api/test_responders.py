"""Who may start `dataset_merge` and answer its form: the guard in front of Airflow's routes, and what it hands to the task.

Airflow's own application is a small one here; tests/integration/stack has the real one behind the guard.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from learnloop.database import session
from learnloop.datasets.merge.responders import responder, vouch_for
from learnloop.errors import NotAuthenticated, PermissionDenied
from learnloop.permissions import Principal
from learnloop_airflow.api import auth
from learnloop_airflow.api.responders import RespondersMiddleware

RUN = "manual__2026-05-01T10:00:00+00:00"


def answer_path(dag="dataset_merge", run=RUN):
    return f"/api/v2/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances/decide/-1/hitlDetails"


@pytest.fixture
def airflow(app, monkeypatch):
    """``airflow(name, *roles)``: a client that acts as somebody; ``client.reached`` lists what got through."""
    reached = []

    async def reach(request: Request) -> JSONResponse:
        reached.append((request.method, request.url.path))
        return JSONResponse(await request.json())

    paths = ("/api/v2/dags/{dag}/dagRuns", "/api/v2/dags/{dag}/dagRuns/{run:path}/hitlDetails")
    inner = Starlette(routes=[Route(path, reach, methods=["POST", "PATCH"]) for path in paths])

    def make(name, *roles):
        async def who(request):
            if name is None:
                raise NotAuthenticated("Not authenticated")
            return Principal(name, frozenset(roles))

        monkeypatch.setattr(auth, "principal", who)
        client = TestClient(RespondersMiddleware(inner))
        client.reached = reached
        return client

    return make


def known(name, run=RUN):
    with session() as db:
        return responder(db, name, dag_id="dataset_merge", run_id=run, task_id="decide")


@pytest.mark.parametrize("run", [RUN, "a/b c", "ü"])
def test_an_answer_of_somebody_with_the_right_goes_through_with_their_roles(airflow, run):
    client = airflow("sue", "scientist", "viewer")
    answer = {"chosen_options": ["theirs"], "params_input": {}}
    got = client.patch(answer_path(run=run), json=answer)
    assert (got.status_code, got.json()) == (200, answer)
    assert known("sue", run) == Principal("sue", frozenset({"scientist", "viewer"}))
    # Somebody else, or another form, is not vouched for by that.
    for name, other in (("ann", run), ("sue", "another run")):
        with pytest.raises(PermissionDenied, match="does not count"):
            known(name, other)


@pytest.mark.parametrize("roles", [("annotator",), ("reviewer",), ("Viewer", "User"), ()])
def test_without_the_right_nothing_reaches_airflow(airflow, roles):
    client = airflow("ann", *roles)
    for refused in (
        client.patch(answer_path(), json={"chosen_options": ["theirs"]}),
        client.post("/api/v2/dags/dataset_merge/dagRuns", json={"conf": {}}),
    ):
        assert refused.status_code == 403
        assert refused.headers["content-type"] == "application/problem+json"
        assert "ann may not dataset:merge" in refused.json()["detail"]
    assert client.reached == []
    with pytest.raises(PermissionDenied):
        known("ann")


def test_a_run_is_started_by_who_has_the_right(airflow):
    client = airflow("sue", "engineer")
    assert client.post("/api/v2/dags/dataset_merge/dagRuns", json={"conf": {}}).status_code == 200
    assert client.reached == [("POST", "/api/v2/dags/dataset_merge/dagRuns")]


def test_other_dags_and_strangers_are_airflows_business(airflow):
    client = airflow("ann", "annotator")
    assert client.patch(answer_path(dag="other"), json={}).status_code == 200
    assert client.post("/api/v2/dags/other/dagRuns", json={}).status_code == 200
    stranger = airflow(None)
    assert stranger.patch(answer_path(), json={}).status_code == 200  # this stand-in lets everybody in
    assert len(stranger.reached) == 3


def test_the_roles_of_the_last_answer_count(db):
    place = {"dag_id": "dataset_merge", "run_id": RUN, "task_id": "decide"}
    for roles in ({"scientist"}, {"annotator"}):
        vouch_for(db, Principal("sue", frozenset(roles)), **place)
    assert responder(db, "sue", **place).roles == {"annotator"}


def test_without_our_database_no_answer_goes_through(airflow, monkeypatch):
    from learnloop.database.engine import engine

    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    from learnloop import settings

    settings.settings.cache_clear()
    engine.cache_clear()
    client = airflow("sue", "scientist")
    assert client.patch(answer_path(), json={}).status_code == 503
    assert client.reached == []


@pytest.mark.parametrize("dag", ["base_model_training", "incremental_training", "structure_optimization"])
def test_a_model_is_approved_by_who_may_deploy(airflow, dag) -> None:
    sue = airflow("sue", "scientist")
    assert sue.post(f"/api/v2/dags/{dag}/dagRuns", json={}).status_code == 200  # to start it is Airflow's to allow
    refused = sue.patch(answer_path(dag), json={"chosen_options": ["accept"]})
    assert (refused.status_code, "sue may not model:deploy" in refused.json()["detail"]) == (403, True)
    eva = airflow("eva", "engineer")
    assert eva.patch(answer_path(dag), json={"chosen_options": ["accept"]}).status_code == 200
    with session() as db:
        assert responder(db, "eva", dag_id=dag, run_id=RUN, task_id="decide").roles == {"engineer"}
