"""Somebody leaves: their tokens open nothing at Airflow any more, however they got them."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from test_session import is_open

pytestmark = pytest.mark.timeout(900)


def test_every_token_of_who_leaves_ends_at_once(airflow) -> None:
    airflow.token("sue")  # who gets what is theirs has logged in before
    old = airflow.token("lea")
    with airflow.bearing(old) as api:
        refreshed = api.post("/session/refresh").json()["access_token"]
    tokens = [airflow.token("lea"), refreshed]
    body = {"username": "lea", "password": airflow.passwords["lea"]}
    tokens.append(httpx.post(f"{airflow.url}/auth/token/cli", json=body).json()["access_token"])
    if airflow.manager == "fab":
        with httpx.Client(base_url=airflow.url, follow_redirects=True) as browser:
            csrf = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.get("/auth/login/").text)[1]
            browser.post("/auth/login/", data={"csrf_token": csrf, **body})
            tokens.append(browser.cookies["_token"])
    assert all(is_open(airflow, token) for token in tokens)
    stays = airflow.token("sue")
    with airflow.as_user("ada") as api:
        answer = api.post("/users/offboard", json={"name": "lea", "to": "sue"})
    assert "result" in json.loads(answer.text.splitlines()[-1]), answer.text
    assert not any(is_open(airflow, token) for token in tokens)
    assert is_open(airflow, stays)


def test_the_command_line_says_what_it_does(airflow, learnloop) -> None:
    airflow.token("sue")
    airflow.token("vic")
    learnloop("login", "--user", "ada", "--password-stdin", typed=airflow.passwords["ada"] + "\n")
    assert "would go from vic to sue" in learnloop("user", "offboard", "vic", "--to", "sue", "--dry-run")
    assert "tokens: " in learnloop("user", "offboard", "vic", "--to", "sue")
    assert "tokens: " not in learnloop("user", "offboard", "vic", "--to", "sue")
    assert "into the archive" in learnloop("user", "offboard", "vic", code=1)
    shown = json.loads(learnloop("audit", "--user", "ada", "--since", "1h", "--limit", "20", "--json"))
    assert [event["resource"] for event in shown].count("/users/offboard vic to sue") == 2
    assert "login" in learnloop("audit", "--action", "login")
    assert "neither like 12h" in learnloop("audit", "--since", "soon", code=2)
