"""Airflow's own routes in the audit log: logins, failed logins, logouts, refusals. Nothing typed as a password is kept."""

from __future__ import annotations

import json
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import create_engine, text

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def since(airflow):
    """``since()``: what has been logged since the test began, oldest first."""
    engine = create_engine(airflow.database_url)

    def rows(after: int) -> list[dict]:
        with engine.connect() as connection:
            found = connection.execute(
                text("SELECT * FROM audit_events WHERE id > :after ORDER BY id"), {"after": after}
            )
            return [dict(row) for row in found.mappings()]

    start = max((row["id"] for row in rows(0)), default=0)
    yield lambda: rows(start)
    engine.dispose()


def brief(rows: list[dict]) -> list[tuple[str, str, str]]:
    return [(row["owner"], row["action"], row["outcome"]) for row in rows]


def everything(airflow) -> str:
    with create_engine(airflow.database_url).connect() as connection:
        return json.dumps([str(row) for row in connection.execute(text("SELECT * FROM audit_events"))])


def test_a_login_is_logged_and_still_gives_a_token(airflow, since) -> None:
    token = airflow.token("sue")
    (row,) = since()
    assert brief([row]) == [("sue", "login", "ok")]
    assert (row["resource"], row["status"], row["address"]) == ("/auth/token", 201, "127.0.0.1")
    assert token not in everything(airflow)


def test_a_login_from_behind_a_proxy_is_logged_with_its_own_address(airflow, since) -> None:
    body = {"username": "sue", "password": airflow.passwords["sue"]}
    httpx.post(f"{airflow.url}/auth/token", json=body, headers={"X-Forwarded-For": "203.0.113.7"})
    assert since()[0]["address"] == "203.0.113.7"


def test_a_failed_login_names_only_who_is_known(airflow, since) -> None:
    airflow.token("sue")
    typed = secrets.token_hex(8)  # a password typed where the name belongs
    for name in ("sue", typed, "", "x\x00y", ["sue"], None):
        answer = httpx.post(f"{airflow.url}/auth/token", json={"username": name, "password": "guess"})
        assert answer.status_code >= 400
    assert [row[0] for row in brief(since())[1:]] == ["sue", "", "", "", "", ""]
    assert {(row[1]) for row in brief(since())} == {"login"}
    assert "ok" not in {row[2] for row in brief(since())[1:]}
    assert typed not in everything(airflow)
    assert "guess" not in everything(airflow)
    log = airflow.home.joinpath("api-server.log").read_text()
    assert "/auth/token" in log
    assert typed not in log


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b"x" * 100])
def test_what_is_no_login_at_all_is_refused_and_logged(airflow, since, body: bytes) -> None:
    answer = httpx.post(f"{airflow.url}/auth/token", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code >= 400  # SimpleAuthManager's answer to what is not JSON is a 500
    assert brief(since()) == [("", "login", "refused" if answer.status_code < 500 else "failed")]


def test_a_login_that_is_too_large_is_not_read(airflow) -> None:
    answer = httpx.post(f"{airflow.url}/auth/token", json={"username": "sue", "password": "x" * 100_000})
    assert answer.status_code == 413


def test_refresh_and_logout_are_logged(airflow, since) -> None:
    with airflow.as_user("sue") as api:
        new = api.post("/session/refresh").json()["access_token"]
        assert api.post("/session/refresh").status_code == 401
    with airflow.bearing(new) as api:
        api.post("/session/logout")
    headers = {"Authorization": f"Bearer {airflow.token('sue')}"}
    httpx.get(f"{airflow.url}/api/v2/auth/logout", headers=headers)
    assert brief(since()) == [
        ("sue", "login", "ok"),
        ("sue", "refresh", "ok"),
        ("", "refresh", "refused"),
        ("sue", "logout", "ok"),
        ("sue", "login", "ok"),
        ("sue", "logout", "ok"),
    ]
    assert new not in everything(airflow)


def test_what_airflow_refuses_is_logged_with_who_it_was(airflow, since) -> None:
    headers = {"Authorization": f"Bearer {airflow.token('vic')}"}
    body = {"key": "k", "value": "v"}
    assert httpx.post(f"{airflow.url}/api/v2/variables", json=body, headers=headers).status_code == 403
    assert httpx.get(f"{airflow.url}/api/v2/dags").status_code == 401
    assert [(row["owner"], row["action"], row["resource"], row["status"]) for row in since()[1:]] == [
        ("vic", "airflow POST", "/api/v2/variables", 403),
        ("", "airflow GET", "/api/v2/dags", 401),
    ]


def test_a_login_by_airflows_form_is_logged(airflow, since) -> None:
    if airflow.manager != "fab":
        pytest.skip("SimpleAuthManager's form is JavaScript over /auth/token")
    with httpx.Client(base_url=airflow.url, follow_redirects=True) as browser:
        for password, user in (("guess", "vic"), (airflow.passwords["vic"], "vic")):
            form = browser.get("/auth/login/").text
            csrf = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)[1]
            browser.post("/auth/login/", data={"csrf_token": csrf, "username": user, "password": password})
        assert browser.cookies.get("_token")
    refused, login, again = brief(since())  # FAB's index gives a second token to who has just logged in
    assert refused[1:] == ("login", "refused")
    assert (login, again) == (("vic", "login", "ok"), ("vic", "refresh", "ok"))


def test_guessing_is_slowed_down_for_who_guesses_and_for_nobody_else(airflow, since) -> None:
    def guess(name: str, password: str, address: str) -> httpx.Response:
        body = {"username": name, "password": password}
        return httpx.post(f"{airflow.url}/auth/token", json=body, headers={"X-Forwarded-For": address}, timeout=60)

    mine, theirs = airflow.passwords["lea"], "198.51.100.1"
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda n: guess("lea", f"guess {n}", theirs).status_code, range(40)))
    tried = statuses.count(401)
    assert tried + statuses.count(429) == 40
    assert 10 <= tried <= 10 + (time.monotonic() - started)  # one a second comes free meanwhile
    a_minute = text("UPDATE rate_limits SET paid_until = now() + interval '1 minute' WHERE key LIKE :key")
    with create_engine(airflow.database_url).begin() as connection:
        assert connection.execute(a_minute, {"key": f"login {theirs} %"}).rowcount == 1
    refused = guess("lea", mine, theirs)  # the right one, at last, is not even tried
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 20
    assert guess("lea", mine, "198.51.100.2").status_code == 201
    assert {guess("sue", airflow.passwords["sue"], theirs).status_code for _ in range(15)} == {201}
    assert {row["status"] for row in since()} == {401, 429, 201}
