"""The client against the real API over a real socket; and against what is not the API at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from learnloop import client as module
from learnloop.client import LearnloopClient
from learnloop.database import Annotation, AnnotationTask, Batch, Dataset
from learnloop.datasets.store import Store
from learnloop.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, PermissionDenied, Unavailable
from learnloop.permissions import Principal
from learnloop_airflow.api import auth

ROLES = {"ben": "annotator", "eva": "annotator", "vic": "viewer", "sam": "scientist"}


@contextmanager
def serving(app: Any) -> Iterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # who comes before the server has started waits for it
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def url(app, db: Session, tmp_path) -> Iterator[str]:
    """The API below its prefix, as Airflow mounts it. A token is its user's name; "token" logs in anybody."""

    def who(request: Request) -> Principal:
        name = request.headers.get("authorization", "").removeprefix("Bearer ")
        if name not in ROLES:
            raise NotAuthenticated("Not authenticated")
        return Principal(name, frozenset({ROLES[name]}))

    app.dependency_overrides[auth.principal] = who
    dataset = Dataset(
        name="pets",
        task_type="image_classification",
        loop={"classes": ["cat", "dog"], "policy": {"labels": 10}},
        owner="ada",
    )
    db.add(dataset)
    db.flush()
    batch = Batch(dataset_id=dataset.id, name="b", tree="0" * 32 + ".dir", samples=3, owner="ada")
    db.add(batch)
    db.flush()
    prediction = {"label": "cat", "confidence": 0.6, "uncertainty": 0.8, "model_version": 1}
    prediction["probabilities"] = {"cat": 0.6, "dog": 0.4}
    for n in range(3):
        task = AnnotationTask(dataset_id=dataset.id, batch_id=batch.id, sample_id=f"s{n}", path="x.png", owner="ada")
        task.object = Store(tmp_path / "store").add_bytes(b"bytes of a sample")
        task.prediction, task.reason = prediction, {"strategy": "random", "rank": n}
        db.add(task)
    db.commit()
    host = FastAPI()

    @host.post("/auth/token", status_code=201)
    def token(body: dict[str, str]) -> Any:
        if body["password"] != "secret":
            return JSONResponse({"detail": "Invalid credentials"}, 401)
        return {"access_token": body["username"]}

    host.mount("/learnloop/api/v1", app)
    with serving(host) as address:
        yield address


def test_the_way_of_one_label(url, db) -> None:
    with LearnloopClient.login(url, "ben", "secret") as ben:
        assert (ben.session().name, ben.session().roles) == ("ben", ["annotator"])
        assert [found.name for found in ben.datasets()] == ["pets"]
        task = ben.claim("pets")
        assert ben.claim("pets").id == ben.task(task.id).id == task.id
        assert (task.classes, task.prediction.label, task.chosen_by["strategy"]) == (["cat", "dog"], "cat", "random")
        assert ben.content(task.id) == b"bytes of a sample"
        ben.renew(task.id)
        ben.submit(task.id, "dog", seconds=1.0, key="once")
        ben.submit(task.id, "dog", seconds=1.0, key="once")
        skipped = ben.claim("pets")
        ben.skip(skipped.id, "dark", key="skip")
        ben.skip(skipped.id, "dark", key="skip")  # its first answer got lost
        assert ben.claim("pets").id not in (task.id, skipped.id)
        now = ben.progress("pets")
        assert (now.waiting, now.needed, now.answered_by_me, now.reason) == (1, 10, 1, "9 more labels needed")
    assert db.scalar(select(func.count()).select_from(Annotation)) == 2


def test_a_scientist_starts_a_round_once(url) -> None:
    with LearnloopClient(url, "ben") as ben, LearnloopClient(url, "sam") as sam:
        with pytest.raises(InvalidInput, match="nothing to train on"):
            sam.start_round("pets")
        ben.submit(ben.claim("pets").id, "cat")
        assert sam.start_round("pets", "I want it")["state"] == "requested"
        with pytest.raises(Conflict, match="wait until it has ended"):
            sam.start_round("pets")
        assert [found["reason"] for found in sam.rounds("pets")] == ["I want it"]
        assert [found["name"] for found in sam.batches("pets")] == ["b"]
        assert sam.versions("pets") == sam.deployments() == sam.decisions("pets") == []


def test_what_the_api_refuses_comes_back_as_what_it_is(url) -> None:
    ben = LearnloopClient(url, "ben")
    task = ben.claim("pets")
    with pytest.raises(InvalidInput, match="cat, dog"):
        ben.submit(task.id, "bird")
    with pytest.raises(InvalidInput) as refused:
        ben.submit(task.id, "cat", comment="x" * 2001)
    assert any("comment" in problem for problem in refused.value.problems)
    with pytest.raises(PermissionDenied, match="ben"):
        LearnloopClient(url, "eva").submit(task.id, "cat")
    with pytest.raises(PermissionDenied, match="annotation:claim"):
        LearnloopClient(url, "vic").claim("pets")
    with pytest.raises(NotAuthenticated):
        LearnloopClient(url).claim("pets")
    for name in ("nobody", "../../../auth", "..", ".", "pets/versions", "pets?x=1", "pets#", "%2e"):
        with pytest.raises(NotFound):
            ben.progress(name)


def test_a_wrong_password_and_a_platform_that_is_down_are_told_apart(url) -> None:
    with pytest.raises(NotAuthenticated, match="password is wrong"):
        LearnloopClient.login(url, "ben", "guess")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        there = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(Unavailable, match=there):
            LearnloopClient.login(there, "ben", "secret")


class Flaky:
    """Answers ``faults`` first, then 201 to everything; keeps what it was sent."""

    def __init__(self, *faults: Response) -> None:
        self.faults = list(faults)
        self.keys: list[str | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.keys.append(dict(scope["headers"]).get(b"idempotency-key", b"").decode() or None)
        answer = (
            self.faults.pop(0) if self.faults else JSONResponse({"access_token": "x", "items": [], "next": None}, 201)
        )
        await answer(scope, receive, send)


def test_a_write_is_tried_again_under_one_key_only(monkeypatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.001)
    flaky = Flaky(PlainTextResponse("starting", 503), PlainTextResponse("<html>", 502))
    with serving(flaky) as there, LearnloopClient(there, "x") as client:
        client.submit(1, "cat")
    assert len(flaky.keys) == 3
    assert len(set(flaky.keys)) == 1
    assert flaky.keys[0]


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (PlainTextResponse("<html>", 500), Unavailable, "500"),
        (JSONResponse(["not", "a", "problem"], 404), NotFound, "404"),
        (JSONResponse({"detail": "Token Expired"}, 401), NotAuthenticated, "Token Expired"),
        (JSONResponse({"type": "urn:learnloop:problem:conflict", "detail": "no"}, 409), Conflict, "no"),
    ],
)
def test_an_answer_that_is_not_the_apis(answer: Response, error: type[Exception], said: str) -> None:
    with serving(Flaky(answer)) as there, LearnloopClient(there, "x") as client, pytest.raises(error, match=said):
        client.datasets()


def test_a_login_that_is_refused_for_another_reason_does_not_blame_the_password() -> None:
    with serving(Flaky(PlainTextResponse("boom", 500))) as there, pytest.raises(Unavailable, match="500"):
        LearnloopClient.login(there, "ben", "secret")
