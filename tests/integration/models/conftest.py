"""A registry in a database of its own, which tests share: each has models of its own."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import create_engine, make_url, text

from learnloop.models import registry


@pytest.fixture(scope="session")
def url(postgres: str) -> str:
    """MLflow's database, prepared."""
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    maintenance.dispose()
    made = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    registry.prepare(made)
    registry.prepare(made)
    return made
