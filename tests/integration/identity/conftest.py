"""Airflow's own API server under each auth manager: here nothing is replaced, tokens least of all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow_server import MANAGERS, AirflowServer, airflow_server


@pytest.fixture(scope="session", params=sorted(MANAGERS))
def airflow(request: pytest.FixtureRequest, postgres: str) -> Iterator[AirflowServer]:
    with airflow_server(request.param, postgres) as running:
        yield running
