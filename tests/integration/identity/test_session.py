"""Login, refresh, logout under each auth manager: what has ended has ended for Airflow and for us at once."""

from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import jwt
import pytest
from airflow_server import USERS

from annotation_app.lasting import LastingClient

pytestmark = pytest.mark.timeout(900)

SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
ROLES = {"fab": {name: roles[0] for name, roles in USERS.items()}}
ROLES["simple"] = {"ada": "admin", "eng": "engineer", "sue": "scientist", "vic": "viewer", "lea": "scientist"}


def answers(airflow, token: str) -> dict[str, int]:
    """What a token opens: our API, Airflow's API, both by header and as a browser's cookie."""
    places = {"ours": "/learnloop/api/v1/session", "airflow's": "/api/v2/dags", "the page's": "/ui/auth/me"}
    got = {}
    for name, path in places.items():
        by_header = httpx.get(airflow.url + path, headers={"Authorization": f"Bearer {token}"})
        by_cookie = httpx.get(airflow.url + path, cookies={"_token": token})
        got[name], got[f"{name} by cookie"] = by_header.status_code, by_cookie.status_code
    return got


def is_open(airflow, token: str) -> bool:
    found = answers(airflow, token)
    refused = {name for name, status in found.items() if status in (401, 403)}
    assert refused in (set(), set(found)), found  # everywhere at once
    return not refused


def forged(airflow, secret: str | None = None, **changed: object) -> str:
    claims = jwt.decode(airflow.token("vic"), options={"verify_signature": False})
    right = airflow.environment["AIRFLOW__API_AUTH__JWT_SECRET"]
    return jwt.encode({**claims, **changed}, secret or right, algorithm="HS512")


def test_who_one_is_comes_from_airflow(airflow) -> None:
    for name, role in ROLES[airflow.manager].items():
        with airflow.as_user(name) as api:
            said = api.get("/session").json()
            assert (said["name"], said["roles"]) == (name, [role])


def test_a_token_is_exchanged_once_and_the_old_one_opens_nothing(airflow) -> None:
    old = airflow.token("vic")
    assert is_open(airflow, old)
    with airflow.bearing(old) as api:
        answer = api.post("/session/refresh")
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        new = answer.json()["access_token"]
        assert is_open(airflow, new)
        assert not is_open(airflow, old)
        assert api.post("/session/refresh").status_code == 401
    assert jwt.decode(new, options={"verify_signature": False})["sub"]


def test_a_token_that_is_in_use_ends_at_its_time(airflow) -> None:
    """That it is Airflow's is kept, and not asked anew with each request: that it has ended must show all the same."""
    token = forged(airflow, exp=int(time.time()) + 15)
    assert is_open(airflow, token)
    assert is_open(airflow, token)
    ends = time.monotonic() + 60
    with airflow.bearing(token) as api:
        while api.get("/session").status_code == 200:
            assert time.monotonic() < ends
            time.sleep(0.2)
    assert not is_open(airflow, token)


def test_the_annotation_pages_client_outlasts_its_token(airflow) -> None:
    now = int(time.time())
    old = forged(airflow, iat=now - 60, nbf=now - 60, exp=now + 30)
    with LastingClient(airflow.url, old) as page:
        name = page.session().name
        assert page.keep()
        assert page.token != old
        assert not is_open(airflow, old)
        assert page.session().name == name
        assert not page.keep()  # the new one is fresh


def test_of_many_that_exchange_one_token_at_once_one_gets_a_new_one(airflow) -> None:
    with airflow.as_user("vic") as api, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post("/session/refresh").status_code, range(8)))
    assert sorted(answers) == [200] + [401] * 7


def test_a_browser_gets_its_new_token_as_a_cookie_only(airflow) -> None:
    with httpx.Client(base_url=airflow.url, headers=SAME_SITE) as browser:
        old = airflow.token("vic")
        browser.cookies.set("_token", old, domain="127.0.0.1", path="/")
        answer = browser.post("/learnloop/api/v1/session/refresh")
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"expires_at"}
        cookie = next(found for found in answer.headers.get_list("set-cookie") if found.startswith("_token="))
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower()
        new = cookie.removeprefix("_token=").split(";")[0]
        assert new != old
        assert is_open(airflow, new)
        assert not is_open(airflow, old)


def test_another_site_cannot_log_a_browser_out(airflow) -> None:
    token = airflow.token("vic")
    for path in ("/session/logout", "/session/refresh"):
        answer = httpx.post(
            f"{airflow.url}/learnloop/api/v1{path}", cookies={"_token": token}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert answer.status_code == 403
    assert is_open(airflow, token)


def test_logout_ends_every_token_of_the_request(airflow) -> None:
    one, other, stays = (airflow.token("vic") for _ in range(3))
    with airflow.bearing(one) as api:
        api.cookies.set("_token", other)
        answer = api.post("/session/logout")
    assert answer.json() == {"logged_out": True}
    assert any(found.startswith('_token=""') for found in answer.headers.get_list("set-cookie"))
    assert not is_open(airflow, one)
    assert not is_open(airflow, other)
    assert is_open(airflow, stays)


def test_who_logs_out_at_airflow_is_logged_out_here(airflow) -> None:
    token = airflow.token("vic")
    httpx.get(f"{airflow.url}/api/v2/auth/logout", headers={"Authorization": f"Bearer {token}"})
    assert not is_open(airflow, token)


def test_tokens_that_are_not_or_no_longer_airflows_open_nothing(airflow) -> None:
    past = int(time.time()) - 3600
    for token in (
        forged(airflow, exp=past),
        forged(airflow, secret="x" * 64),
        forged(airflow, aud="somebody else's"),
        forged(airflow, nbf=int(time.time()) + 3600),
        forged(airflow)[:-4] + "AAAA",
        "not.a.token",
    ):
        assert not is_open(airflow, token)
        with airflow.bearing(token) as api:
            for path in ("/session/refresh", "/session/logout"):
                answer = api.post(path)
                assert answer.status_code == 401, answer.text
                assert answer.headers["content-type"] == "application/problem+json"


def test_the_command_line_logs_in_refreshes_and_logs_out(airflow, learnloop) -> None:
    password = airflow.passwords["vic"]
    assert "password is wrong" in learnloop("login", "--user", "vic", "--password-stdin", typed="guess\n", code=1)
    assert not learnloop.file.exists()
    assert "as vic" in learnloop("login", "--user", "vic", "--password-stdin", typed=password + "\n")
    assert stat.S_IMODE(learnloop.file.stat().st_mode) == 0o600
    first = learnloop.file.read_text()
    assert password not in first
    learnloop("refresh")
    assert learnloop.file.read_text() != first
    assert stat.S_IMODE(learnloop.file.stat().st_mode) == 0o600
    assert "vic at" in learnloop("whoami")
    learnloop("logout")
    assert learnloop.file.read_text() == "{}"
    assert "learnloop login" in learnloop("whoami", code=1)


def test_a_password_is_no_argument(learnloop) -> None:
    assert "No such option" in learnloop("login", "--user", "vic", "--password", "word", code=2)
