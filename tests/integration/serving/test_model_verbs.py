"""Ollama's verbs and the protocol's model repository, with the real API behind them; only Airflow's word on who bears a
token is replaced (tests/integration/stack asks the real one)."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import pytest
import uvicorn
from databases import new_database
from serving_support import free_port, last_rollbacks, wait_until
from starlette.applications import Starlette
from starlette.routing import Mount
from typer.testing import CliRunner

from learnloop import settings
from learnloop.cli import app as cli
from learnloop.client import LearnloopClient
from learnloop.database import AuditEvent, Decision, Deployment, ModelLease, session
from learnloop.database.engine import engine
from learnloop.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, PermissionDenied
from learnloop.models import registry as models_registry
from learnloop.models.promotion import align_registry
from learnloop.permissions import Principal
from learnloop.serving.client import ModelClient
from learnloop_airflow.api import auth
from learnloop_airflow.api.app import create_app

ROLES = {"eva-token": ("eva", "engineer"), "max-token": ("max", "engineer"), "vi-token": ("vi", "viewer")}


@pytest.fixture(scope="module")
def mlflow(postgres, registry, tmp_path_factory):
    """A registry that has digits 1 and 2."""
    with new_database(postgres, "template1") as url:
        models_registry.prepare(url)
        for version in ("1", "2"):
            models_registry.register(
                "digits",
                registry / "digits" / version,
                models_root=tmp_path_factory.getbasetemp() / "models",
                tags={},
                metrics={},
                idempotency_key=version,
                url=url,
            )
        yield url


@pytest.fixture
def api(database_url, mlflow, tmp_path, monkeypatch):
    """The address of our API."""
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    monkeypatch.setenv("LEARNLOOP_MLFLOW_URL", mlflow)
    settings.settings.cache_clear()
    engine.cache_clear()
    app = create_app()

    def who(request: auth.Request) -> Principal:
        found = ROLES.get(auth.bearer_of(request) or "")
        if found is None:
            raise NotAuthenticated("Not authenticated")
        return Principal(found[0], frozenset(found[1:]))

    app.dependency_overrides[auth.principal] = who
    port = free_port()
    root = Starlette(routes=[Mount("/learnloop/api/v1", app)])
    running = uvicorn.Server(uvicorn.Config(root, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=running.run)
    thread.start()
    wait_until(lambda: running.started)
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join()
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


@pytest.fixture
def server(serve, deploy_digits, api):
    deploy_digits(1)
    return serve(api_url=api, source_of=models_registry.source_of)


@pytest.fixture
def as_(server):
    """A client with somebody's token."""
    made = []

    def client(name: str | None) -> ModelClient:
        made.append(ModelClient(server.url, token=name and f"{name}-token"))
        return made[-1]

    yield client
    for one in made:
        one.close()


def in_memory(server):
    return sorted(version for _, version in server.models.versions)


def test_pull_keeps_a_version_in_memory_and_stop_lets_it_go(as_, server, rows, db):
    eva = as_("eva")
    eva.pull("digits:2", "1h")
    assert eva.infer("digits:2", rows).model_version == 2
    assert db.query(ModelLease).one().holder == "pull:eva"
    eva.stop("digits:2")
    wait_until(lambda: in_memory(server) == [1])
    assert db.query(ModelLease).count() == 0
    with pytest.raises(NotFound, match="pull it"):
        eva.infer("digits:2", rows)
    told = [(event.owner, event.action, event.resource, event.outcome) for event in db.query(AuditEvent)]
    assert told == [
        ("eva", "model server: pull", "digits:2", "ok"),
        ("eva", "model server: stop", "digits:2", "ok"),
    ]


def test_a_pull_ends_by_itself(as_, server, rows):
    eva = as_("eva")
    eva.pull("digits:2", 1)
    assert in_memory(server) == [1, 2]
    wait_until(lambda: in_memory(server) == [1])


def test_what_somebody_else_pulled_stays(as_, server):
    as_("eva").pull("digits:2")
    as_("max").pull("digits:2", -1)
    with pytest.raises(Conflict, match="stays: pull:max holds a lease"):
        as_("eva").stop("digits:2")
    assert in_memory(server) == [1, 2]


def test_a_served_alias_that_was_stopped_comes_back_with_the_next_request(as_, server, rows):
    as_("eva").stop("digits:current")
    assert in_memory(server) == []
    assert as_(None).infer("digits", rows).model_version == 1


def test_copy_serves_a_version_under_an_alias_and_it_is_kept_who_did_it(as_, server, rows, db, mlflow):
    eva = as_("eva")
    moved = eva.copy("digits:2", "digits:realtime")
    assert [(one["alias"], one["version"]) for one in moved] == [("realtime", 2), ("current", 2)]
    assert eva.infer("digits:realtime", rows).model_version == 2
    assert models_registry.version_of("digits", "realtime", mlflow) == 2
    assert db.query(Decision).one().owner == "eva"
    assert "copied from digits:2" in db.query(Decision).one().reason


def test_delete_takes_an_alias_away_but_never_current(as_, server, rows, db, mlflow):
    eva = as_("eva")
    eva.copy("digits:2", "digits:realtime")
    eva.delete("digits:realtime")
    wait_until(lambda: "digits:realtime" not in server.models.targets)
    with pytest.raises(NotFound, match="served are: digits:current"):
        eva.infer("digits:realtime", rows)
    with pytest.raises(InvalidInput, match="digits:current stays"):
        eva.delete("digits:current")
    assert [row.alias for row in db.query(Deployment)] == ["current"]
    assert models_registry.version_of("digits", "realtime", mlflow) is None
    assert [decision.kind for decision in db.query(Decision).order_by(Decision.id)] == ["promotion", "withdrawal"]


def test_the_protocols_load_and_unload(server, as_, rows):
    head = {"Authorization": "Bearer eva-token"}
    with httpx.Client(base_url=server.url, headers=head) as http:
        assert http.post("/v2/repository/models/digits:2/load").status_code == 200
        assert {"name": "digits", "version": "2", "state": "READY", "reason": ""} in http.post(
            "/v2/repository/index"
        ).json()
        assert as_(None).infer("digits:2", rows).model_version == 2
        assert http.post("/v2/repository/models/digits:2/unload").status_code == 200
        wait_until(lambda: in_memory(server) == [1])
        assert http.post("/v2/repository/models/digits:9/load").status_code == 404


def test_a_pull_streams_its_states_as_ollama_does(server):
    head = {"Authorization": "Bearer eva-token"}
    lines = httpx.post(f"{server.url}/api/pull", json={"model": "digits:2"}, headers=head).text.splitlines()
    assert lines == ['{"status":"loading digits version 2"}', '{"status":"success"}']


@pytest.mark.parametrize("token", [None, "nobody", "vi"])
def test_who_may_not_deploy_changes_nothing(as_, server, db, token):
    caller = as_(token)
    error = PermissionDenied if token == "vi" else NotAuthenticated
    for change in (
        lambda: caller.pull("digits:2"),
        lambda: caller.stop("digits"),
        lambda: caller.copy("digits:2", "digits:realtime"),
        lambda: caller.delete("digits:current"),
    ):
        with pytest.raises(error, match=r"model:deploy|Not authenticated"):
            change()
    assert in_memory(server) == [1]
    assert db.query(ModelLease).count() == 0
    assert [(row.alias, row.model_version) for row in db.query(Deployment)] == [("current", 1)]


@pytest.mark.parametrize(
    ("verb", "asked", "says"),
    [
        ("pull", {}, "must name a model"),
        ("pull", {"model": 3}, "must name a model"),
        ("pull", {"model": "digits:9"}, "no version 9"),
        ("pull", {"model": "digits:2", "keep_alive": "soon"}, "keep_alive is 'soon'"),
        ("stop", {"model": "letters"}, "letters:current"),
        ("copy", {"source": "digits:2"}, "both ends"),
        ("copy", {"source": "digits:2", "destination": "digits"}, "both ends"),
        ("copy", {"source": "digits:2", "destination": "letters:base"}, "cannot become 'letters'"),
        ("copy", {"source": "digits:2", "destination": "digits:newest"}, "must be one of base"),
    ],
)
def test_a_bad_wish_is_refused_with_its_reason(server, verb, asked, says):
    head = {"Authorization": "Bearer eva-token"}
    response = httpx.post(f"{server.url}/api/{verb}", json=asked, headers=head)
    assert 400 <= response.status_code < 500
    assert says in response.json()["error"]
    assert in_memory(server) == [1]


def test_without_the_api_nobody_may_change_anything_and_inference_goes_on(serve, deploy_digits, rows):
    deploy_digits(1)
    server = serve()
    with ModelClient(server.url, token="eva-token") as client:
        response = httpx.post(
            f"{server.url}/api/stop", json={"model": "digits"}, headers={"Authorization": "Bearer eva-token"}
        )
        assert response.status_code == 503
        assert client.infer("digits", rows).model_version == 1


def test_a_canary_through_the_api(api, server, rows, db):
    with LearnloopClient(api, "eva-token") as client, ModelClient(server.url) as models:
        row = client.set_canary("digits", "current", 2, percent=50, reason="to look at it")
        assert (row["canary_version"], row["canary_percent"]) == (2, 50)
        wait_until(lambda: server.models.targets["digits:current"].canary == 2)
        assert {models.infer("digits", rows).model_version for _ in range(40)} == {1, 2}
        client.set_canary("digits", "current", None)
        wait_until(lambda: server.models.targets["digits:current"].canary is None)
        for version, percent, error in ((1, 50, InvalidInput), (2, 0, InvalidInput), (9, 5, NotFound)):
            with pytest.raises(error):
                client.set_canary("digits", "current", version, percent=percent)
    with LearnloopClient(api, "vi-token") as client, pytest.raises(PermissionDenied):
        client.set_canary("digits", "current", 2, percent=50)
    assert [decision.kind for decision in db.query(Decision)] == ["canary", "canary"]


def test_the_verbs_on_the_command_line(api, server, monkeypatch, db):
    monkeypatch.setenv("LEARNLOOP_API_URL", api)
    monkeypatch.setenv("LEARNLOOP_SERVING_URL", server.url)
    monkeypatch.setenv("LEARNLOOP_TOKEN", "eva-token")
    settings.settings.cache_clear()

    def learnloop(*command: str, code: int = 0) -> str:
        ran = CliRunner().invoke(cli, ["model", *command])
        assert ran.exit_code == code, ran.output
        return ran.output

    assert "digits:1" in learnloop("ps")
    assert "is in memory, for 1h" in learnloop("pull", "digits:2", "--keep-alive", "1h")
    assert [one["version"] for one in json.loads(learnloop("ps", "--json"))] == [1, 2]
    assert "version 2 of digits" in learnloop("show", "digits:2")
    assert "digits:realtime serves version 2" in learnloop("cp", "digits:2", "digits:realtime")
    assert "50 % of its requests go to version 1" in learnloop("canary", "digits", "realtime", "1", "--percent", "50")
    assert "serves version 2 alone" in learnloop("canary", "digits", "realtime")
    assert "is out of memory" in learnloop("stop", "digits:2")
    assert "is gone" in learnloop("rm", "digits:realtime")
    assert "digits:current stays" in learnloop("rm", "digits:current", code=1)
    assert "letters:current" in learnloop("show", "letters", code=1)


def test_the_registry_follows_what_a_server_took_back(api, server, mlflow, database_url, db):
    with session(database_url) as opened:
        opened.query(Deployment).update({"updated_at": datetime.now(UTC) - timedelta(minutes=3)})
    assert align_registry(partial(session, database_url)) == ["digits:current"]
    assert models_registry.version_of("digits", "current", mlflow) == 1
    assert align_registry(partial(session, database_url)) == []
    with session(database_url) as opened:  # somebody is about to change it
        opened.query(Deployment).update({"model_version": 2, "updated_at": datetime.now(UTC)})
    assert align_registry(partial(session, database_url)) == []


def test_what_a_person_takes_back_is_no_version_that_erred(api, server, db):
    with LearnloopClient(api, "eva-token") as client:
        client.promote("digits", "current", 2)
        (moved,) = client.roll_back("digits", "current", seen=2, reason="slow")
    assert moved["version"] == 1
    assert [decision.kind for decision in db.query(Decision).order_by(Decision.id)] == ["promotion", "rollback"]
    assert last_rollbacks(db) == []
