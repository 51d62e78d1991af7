"""Bodies that are too large, too slow or of the wrong kind are refused, whatever route they are for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from select import select as select_ready
from urllib.parse import urlsplit

import httpx
import pytest
from route_places import PLACES
from sqlalchemy import func, select
from starlette.testclient import TestClient
from test_client import serving

from learnloop import settings
from learnloop.database import AuditEvent
from learnloop_airflow.api import auth
from learnloop_airflow.api.bodies import UPLOADS

PATH = "/datasets/pets/lock"


@pytest.fixture
def small(app, as_user, monkeypatch) -> TestClient:
    """An API that takes bodies of up to 1000 bytes."""
    monkeypatch.setenv("LEARNLOOP_BODY_BYTES", "1000")
    settings.settings.cache_clear()
    return as_user("eng", "engineer")


@pytest.fixture
def slow(app, as_user, monkeypatch) -> Iterator[str]:
    """The same on a real server, which waits a second for a body."""
    monkeypatch.setenv("LEARNLOOP_BODY_BYTES", "1000")
    monkeypatch.setenv("LEARNLOOP_BODY_SECONDS", "1")
    settings.settings.cache_clear()
    as_user("eng", "engineer")
    with serving(app) as url:
        yield url


def is_problem(answer, status: int, kind: str) -> None:
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:learnloop:problem:{kind}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def pieces(count: int, size: int = 100) -> Iterator[bytes]:
    for _ in range(count):
        yield b" " * size


def test_a_body_over_the_limit_is_refused(small) -> None:
    json = {"Content-Type": "application/json"}
    assert small.post(PATH, content=b" " * 998 + b"{}", headers=json).status_code == 404  # there is no such dataset
    is_problem(small.post(PATH, content=b" " * 999 + b"{}", headers=json), 413, "body-too-large")


def test_a_body_that_hides_its_length_is_limited_too(slow) -> None:
    answer = httpx.post(slow + PATH, content=pieces(20), headers={"Content-Type": "application/json"})
    is_problem(answer, 413, "body-too-large")
    assert answer.headers["connection"] == "close"


def test_a_length_that_is_a_lie_is_refused_before_anything_is_read(slow) -> None:
    with _connected(slow) as connection:
        connection.sendall(_head("Content-Length: 100000000000"))
        assert b" 413 " in _answer(connection)


def test_every_route_refuses_a_large_body_first(app, small) -> None:
    """Also who may not use the route: nobody's megabytes are read to find that out. A file is left for its route, which
    asks first who sends it (test_upload_api.py).
    """
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            if path.endswith(UPLOADS):
                continue
            answer = small.request(method, path.format_map(PLACES), content=b"x" * 1001)
            assert answer.status_code == 413, (method, path)


@pytest.mark.parametrize("framing", ["Content-Length: 500", "Transfer-Encoding: chunked"])
def test_a_body_that_dribbles_is_cut_off(slow, framing: str) -> None:
    started = time.monotonic()
    with _connected(slow) as connection:
        connection.sendall(_head(framing))
        answer = b""
        connection.settimeout(0.1)
        while not answer:
            connection.sendall(b" " if "Length" in framing else b"1\r\n \r\n")
            try:
                answer = connection.recv(10_000)
            except TimeoutError:
                assert time.monotonic() - started < 30
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"body-too-slow" in answer + _answer(connection)  # and the connection is closed
    assert time.monotonic() - started >= 0.9
    assert httpx.get(f"{slow}/session").status_code == 200


def test_slow_bodies_keep_nobody_else_waiting(slow, monkeypatch) -> None:
    monkeypatch.setenv("LEARNLOOP_BODY_SECONDS", "100")
    settings.settings.cache_clear()
    held = [_connected(slow) for _ in range(50)]
    try:
        for connection in held:
            connection.sendall(_head("Content-Length: 500"))
        assert httpx.get(f"{slow}/session").status_code == 200
        assert select_ready(held, [], [], 0)[0] == []  # while all of them are still waited for
    finally:
        for connection in held:
            connection.close()


def test_a_caller_who_goes_away_in_the_middle_of_a_body_does_no_harm(slow, db) -> None:
    with _connected(slow) as connection:
        connection.sendall(_head("Content-Length: 500") + b"{")
    assert httpx.get(f"{slow}/session").status_code == 200
    assert db.scalar(select(func.count()).select_from(AuditEvent).where(AuditEvent.status == 500)) == 0


def with_bodies(app, *, files: bool = True) -> list[tuple[str, str]]:
    """Method and path of every operation that has a body; without those that bring a file if so asked."""
    found = app.openapi()["paths"].items()
    made = [(method, path) for path, made in found for method, one in made.items() if "requestBody" in one]
    return [(method, path) for method, path in made if files or not path.endswith(UPLOADS)]


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "json",
    ],
)
def test_a_body_of_another_kind_is_refused(app, as_user, db, kind) -> None:
    client = as_user("rob", "admin")
    assert len(with_bodies(app)) > 10
    for method, path in with_bodies(app):
        headers = {} if kind is None else {"Content-Type": kind}
        is_problem(
            client.request(method, path.format_map(PLACES), content=b'{"a": 1}', headers=headers),
            415,
            "unsupported-media-type",
        )


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"{'a': 1}", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"NaN", b"null", b"[]", b'"x"', b"{}{}"],
)
def test_what_is_not_a_json_object_is_refused(app, as_user, db, body: bytes) -> None:
    client = as_user("rob", "admin")
    for method, path in with_bodies(app, files=False):
        answer = client.request(
            method, path.format_map(PLACES), content=body, headers={"Content-Type": "application/json"}
        )
        is_problem(answer, 422, "invalid-input")
        assert all(problem.startswith("body") for problem in answer.json()["problems"])


def test_who_is_calling_is_asked_before_what_they_sent_is_looked_at(app, as_user) -> None:
    for who, status in (((None,), 401), (("eve", "stranger"), 403)):
        client = as_user(*who)
        for method, path in with_bodies(app):
            for kind, body in (("application/json", b"{"), ("text/plain", b"x"), ("application/json", b'{"x": 1}')):
                answer = client.request(method, path.format_map(PLACES), content=body, headers={"Content-Type": kind})
                assert answer.status_code == status, (method, path, answer.text)


def test_a_misspelt_field_or_parameter_is_refused(as_user, db) -> None:
    client = as_user("rob", "admin")
    answer = client.post("/storage/gc", json={"dryrun": True})
    assert (answer.status_code, answer.json()["problems"]) == (422, ["body.dryrun: Extra inputs are not permitted"])
    answer = client.delete("/versions/pets_v1.0?dryrun=true")
    assert answer.json()["problems"] == ["query.dryrun: unknown parameter; it takes dry_run"]


def test_what_strangers_send_cannot_fill_the_audit_log(app, as_user, db, monkeypatch) -> None:
    monkeypatch.setenv("LEARNLOOP_RATE_LOGIN", "6")
    settings.settings.cache_clear()
    client = as_user(None)
    for _ in range(40):
        client.post("/no/such/route", content=b"{")
        client.put("/datasets")
    assert db.scalar(select(func.count()).select_from(AuditEvent)) < 20
    assert auth.principal in app.dependency_overrides


def _connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=30)


def _head(framing: str) -> bytes:
    return f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()


def _answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    connection.settimeout(30)
    got = b""
    while part := connection.recv(10_000):
        got += part
    return got
