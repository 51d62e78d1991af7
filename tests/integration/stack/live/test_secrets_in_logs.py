"""No secret of the running stack is in a log of it: keys, first passwords, passwords that people type, their tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

API = "/learnloop/api/v1"
TYPED = "Typed-by-mistake-4711"


def test_no_secret_is_in_a_log(live_stack) -> None:
    name, password = live_stack.users["scientist"]
    with httpx.Client(base_url=live_stack.url, timeout=60) as http:
        wrong = http.post("/auth/token", json={"username": TYPED, "password": TYPED})
        assert wrong.status_code == 401
        token = http.post("/auth/token", json={"username": name, "password": password}).json()["access_token"]
        http.headers = {"Authorization": f"Bearer {token}"}
        assert http.get(f"{API}/session").status_code == 200
        assert http.post(f"{API}/datasets/nothing/rounds", json={"reason": "x"}).status_code == 404
        assert http.get(f"{API}/audit", headers={"Authorization": f"Bearer {TYPED}"}).status_code == 401

    secrets = {TYPED, password, token, *_kept(live_stack.home / "secrets")}
    logs = list(_logs(live_stack.home))
    assert any("session" in text for _, text in logs), "requests are logged, so what is in them could be"
    assert [path.name for path, text in logs for secret in secrets if secret in text] == []


def test_secrets_are_their_owners_alone(live_stack) -> None:
    folder = live_stack.home / "secrets"
    assert folder.stat().st_mode & 0o077 == 0
    assert [path.name for path in folder.iterdir() if path.stat().st_mode & 0o077] == []


def _kept(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        text = path.read_text()
        yield from json.loads(text).values() if path.suffix == ".json" else [text]


def _logs(home: Path) -> Iterator[tuple[Path, str]]:
    for path in home.rglob("*"):
        if path.is_file() and (path.suffix == ".log" or "logs" in path.relative_to(home).parts):
            yield path, path.read_text(errors="replace")
