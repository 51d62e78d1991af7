"""Airflow's own API server under each auth manager: here nothing is replaced, tokens least of all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_server import MANAGERS, AirflowServer, airflow_server
from databases import new_database

from learnloop.database.engine import engine
from learnloop.models.registry import prepare

METRICS_TOKEN = "what-prometheus-shows"


@pytest.fixture(scope="session", params=sorted(MANAGERS))
def airflow(request: pytest.FixtureRequest, postgres: str) -> Iterator[AirflowServer]:
    with new_database(postgres, "template1") as mlflow:
        prepare(mlflow)
        engine(mlflow).dispose()
        with airflow_server(request.param, postgres, mlflow_url=mlflow, metrics_token=METRICS_TOKEN) as running:
            yield running


@pytest.fixture
def learnloop(airflow, tmp_path: Path):
    """``learnloop(*words, typed=..., code=...)``: the command in a process of its own, as a person's shell starts it."""
    environment = {
        **os.environ,
        "LEARNLOOP_API_URL": airflow.url,
        "LEARNLOOP_HOME": str(tmp_path / "none"),
        "XDG_CONFIG_HOME": str(tmp_path),
    }

    def run(*words: str, typed: str = "", code: int = 0) -> str:
        command = [sys.executable, "-m", "learnloop.cli", *words]
        done = subprocess.run(command, env=environment, input=typed, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.file = tmp_path / "learnloop" / "credentials.json"
    return run
