"""The server of one version, as a pod runs it: ready when it can answer, ended with the reason when it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from serving_support import BROKEN_FILE, BROKEN_WEIGHTS, free_port, wait_until

from learnloop.errors import Unavailable
from learnloop.serving.client import ModelClient
from learnloop.serving.pinned import REFUSED

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(registry: Path, tmp_path: Path) -> Iterator[Start]:
    started = []

    def begin(version: int, drain: float = 1.0) -> tuple[subprocess.Popen[str], str]:
        port = free_port()
        command = [sys.executable, "-m", "learnloop.serving.pinned", "--name", "digits", "--version", str(version)]
        command += ["--alias", "realtime", "--alias", "current", "--folder", str(registry / "digits" / str(version))]
        command += ["--port", str(port), "--drain-seconds", str(drain)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LEARNLOOP_")}
        started.append(subprocess.Popen(command, env=kept, cwd=tmp_path, stderr=subprocess.PIPE, text=True))
        return started[-1], f"http://127.0.0.1:{port}"

    yield begin
    for process in started:
        process.kill()
        process.wait()


def status(url: str, path: str) -> int:
    try:
        return httpx.get(url + path).status_code
    except httpx.TransportError:
        return 0


def test_it_serves_its_version_and_drains(start: Start, rows: np.ndarray, expected: dict[int, np.ndarray]) -> None:
    process, url = start(2, drain=4.0)
    wait_until(lambda: status(url, "/v2/health/ready") == 200, 60)
    with ModelClient(url) as client:
        for name in ("digits", "digits:realtime", "digits:2"):
            answer = client.infer(name, rows)
            np.testing.assert_allclose(answer.probabilities, expected[2], atol=1e-6)
            assert answer.model_version == 2
    text = httpx.get(url + "/metrics").text
    assert 'learnloop_serving_requests_total{model="digits",status="200",version="2"} 3.0' in text
    assert "database_up" not in text  # it has none

    failed, answered, stop = [], [0], threading.Event()

    def ask() -> None:
        """As a balancer's caller: each request where there is a server, a new connection when it was asked to close one."""
        with ModelClient(url) as client:
            while not stop.is_set():
                try:
                    client.infer("digits", rows[:1])
                    answered[0] += 1
                except Unavailable as error:
                    failed.append(str(error))
                    return

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: answered[0] > 20)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: status(url, "/v2/health/ready") == 503)
    assert status(url, "/v2/health/live") == 200
    before = answered[0]
    wait_until(lambda: answered[0] > before + 5)  # it still answers, also on new connections
    response = httpx.get(url + "/v2")
    assert response.headers["connection"] == "close"
    stop.set()
    asking.join()
    assert failed == []
    assert process.wait(15) == 0


@pytest.mark.parametrize(("version", "says"), [(BROKEN_FILE, "Corrupted"), (BROKEN_WEIGHTS, "failed its smoke test")])
def test_a_broken_model_is_never_ready_and_says_why(start: Start, version: int, says: str) -> None:
    process, url = start(version)
    seen = set()
    while process.poll() is None:
        seen.add(status(url, "/v2/health/ready"))
    assert process.returncode == REFUSED
    assert 200 not in seen
    assert says in process.communicate()[1]
