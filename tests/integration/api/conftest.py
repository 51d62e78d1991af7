"""The API on real PostgreSQL. Only Airflow's answer to "who is this token?" is replaced here; tests/integration/stack
asks the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from learnloop import settings
from learnloop.errors import NotAuthenticated
from learnloop.permissions import Principal
from learnloop_airflow.api import auth
from learnloop_airflow.api.app import create_app


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings.settings.cache_clear()
    from learnloop.database.engine import engine

    engine.cache_clear()
    yield create_app()
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


@pytest.fixture
def as_user(app) -> Callable[..., TestClient]:
    """A client that acts as somebody with these roles; as nobody without a name."""

    def make(name: str | None, *roles: str) -> TestClient:
        def who() -> Principal:
            if name is None:
                raise NotAuthenticated("Not authenticated")
            return Principal(name, frozenset(roles))

        app.dependency_overrides[auth.principal] = who
        return TestClient(app, raise_server_exceptions=False)

    return make
