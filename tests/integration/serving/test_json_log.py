"""The log of a model server's process, as a log collector reads it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from serving_support import free_port, wait_until

from learnloop.errors import NotFound
from learnloop.serving.client import ModelClient


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready", timeout=2).is_success
    except httpx.HTTPError:
        return False


def test_every_line_is_json_and_a_requests_line_has_its_id_and_its_run(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "LEARNLOOP_HOME": str(tmp_path),
        "LEARNLOOP_DATABASE_URL": database_url,
        "LEARNLOOP_LOG_FORMAT": "json",
        "LEARNLOOP_SERVING_ACCESS_LOG": "1",
    }
    command = [sys.executable, "-m", "learnloop.serving", "--port", str(port)]
    log = tmp_path / "log"
    with log.open("wb") as file:
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url), seconds=60)
        body = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 1], "data": [0]}]}
        headers = {"X-Request-ID": "round-7"}
        assert httpx.post(f"{url}/v2/models/nothing/infer", json=body, headers=headers).status_code == 404
        monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "score-pets-1")  # as in a task that scores
        with ModelClient(url) as client, pytest.raises(NotFound):
            client.infer("nothing", np.zeros((1, 1)))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["component"] for line in lines} == {"model-server"}
    request, of_run = [line for line in lines if line["logger"] == "learnloop.serving.access"]
    assert (request["request_id"], request["status"], request["event"]) == ("round-7", 404, "inference")
    assert "run_id" not in request
    assert (of_run["run_id"], of_run["status"]) == ("score-pets-1", 404)
