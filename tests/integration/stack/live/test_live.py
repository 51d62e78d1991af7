"""The running stack, as a person and an operator meet it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from learnloop.stack.places import Places, read_json
from learnloop.stack.supervisor import MARK

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def token(stack, role: str) -> str:
    name, password = stack.users[role]
    answer = httpx.post(f"{stack.url}/auth/token", json={"username": name, "password": password})
    assert answer.status_code == 201, answer.text
    return answer.json()["access_token"]


def test_airflow_page_and_api_are_on_one_host(live_stack) -> None:
    assert httpx.get(f"{live_stack.url}/api/v2/version").json()["version"].startswith("3.")
    page = httpx.get(f"{live_stack.url}/annotate/")
    assert page.status_code == 200
    assert "streamlit" in page.text.lower()
    assert httpx.get(f"{live_stack.serving_url}/v2/health/live").status_code == 200


def test_every_port_is_bound_to_loopback_only(live_stack) -> None:
    ports = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(live_stack.home):
                ports += [
                    found.laddr for found in process.net_connections("inet") if found.status == psutil.CONN_LISTEN
                ]
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    assert ports
    assert {address.ip for address in ports} == {"127.0.0.1"}


def test_no_dag_has_an_import_error(live_stack) -> None:
    headers = {"Authorization": f"Bearer {token(live_stack, 'admin')}"}
    with httpx.Client(base_url=f"{live_stack.url}/api/v2", headers=headers) as airflow:
        dags = {path.stem for path in Path("dags").glob("*.py")}
        wait_for(lambda: dags <= {dag["dag_id"] for dag in airflow.get("/dags").json()["dags"]})
        assert airflow.get("/importErrors").json()["import_errors"] == []


def test_the_api_answers_nobody_without_a_token(live_stack) -> None:
    answer = httpx.get(f"{live_stack.url}/learnloop/api/v1/session")
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("role", ["admin", "scientist", "annotator"])
def test_the_api_knows_who_airflow_says_you_are(live_stack, role: str) -> None:
    headers = {"Authorization": f"Bearer {token(live_stack, role)}"}
    session = httpx.get(f"{live_stack.url}/learnloop/api/v1/session", headers=headers).json()
    assert session["name"] == role
    assert ("annotation:claim" in session["permissions"]) == (role in ("admin", "annotator"))


def test_a_killed_component_comes_back(live_stack) -> None:
    status = Places(live_stack.home).status_file
    before = read_json(status)["components"]["model-server"]["pid"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: read_json(status)["components"]["model-server"]["pid"] != before)
    wait_for(lambda: read_json(status)["state"] == "running")
    assert httpx.get(f"{live_stack.serving_url}/v2/health/live").status_code == 200


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        tried = subprocess.run(
            [sys.executable, "-m", "learnloop.stack", "up"],
            env={**os.environ, "LEARNLOOP_HOME": f"/tmp/ll-{os.getpid()}", "LEARNLOOP_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    subprocess.run(["rm", "-rf", f"/tmp/ll-{os.getpid()}"], check=True)
    assert tried.returncode == 1
    assert f"port {port}" in tried.stderr
    assert "is in use" in tried.stderr
