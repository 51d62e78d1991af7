"""`learnloop init`: a deployment's tables and roles, made once, and again without harm."""

from __future__ import annotations

import subprocess
import sys

import pytest
from databases import new_database
from sqlalchemy import create_engine, inspect, text

pytestmark = pytest.mark.timeout(900)


def test_a_deployment_is_initialised_and_again_does_no_harm(airflow, postgres: str) -> None:
    with new_database(postgres, template="template0") as ours, new_database(postgres, template="template0") as mlflow:
        environment = {**airflow.environment, "LEARNLOOP_DATABASE_URL": ours, "LEARNLOOP_MLFLOW_URL": mlflow}
        for _ in range(2):
            command = [sys.executable, "-m", "learnloop.cli", "init"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stdout + done.stderr
        for url, table in ((ours, "dataset_versions"), (mlflow, "registered_models")):
            made = create_engine(url)
            assert table in inspect(made).get_table_names()
            made.dispose()
    if airflow.manager == "simple":
        assert "has no roles of its own" in done.stdout
        return
    database = create_engine(airflow.airflow_url)
    with database.connect() as connection:
        roles = set(connection.scalars(text("SELECT name FROM ab_role")))
    database.dispose()
    assert {"admin", "engineer", "scientist", "annotator", "reviewer", "viewer"} <= roles


def test_without_a_database_it_says_what_is_missing(airflow) -> None:
    environment = {**airflow.environment, "LEARNLOOP_DATABASE_URL": ""}
    command = [sys.executable, "-m", "learnloop.cli", "init"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "LEARNLOOP_DATABASE_URL must be a PostgreSQL URL" in done.stderr
