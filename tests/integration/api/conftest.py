"""The API on real PostgreSQL. Only Airflow's answer to "who is this token?" is replaced here; tests/integration/stack
asks the real one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from databases import create, new_database
from fastapi import FastAPI
from platform_data import populate, register_model
from sqlalchemy import make_url
from sqlalchemy.orm import Session
from starlette.testclient import TestClient
from stored_sample import put_sample

from learnloop import settings
from learnloop.errors import NotAuthenticated
from learnloop.permissions import Principal
from learnloop_airflow.api import auth
from learnloop_airflow.api.app import create_app


@pytest.fixture(scope="session")
def made_app() -> FastAPI:
    """Once for all tests: it keeps nothing of a request but counts, and making it takes longer than most of them."""
    return create_app()


@pytest.fixture
def app(made_app: FastAPI, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings.settings.cache_clear()
    from learnloop.database.engine import engine

    engine.cache_clear()
    put_sample(settings.settings().store)
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


@dataclass(frozen=True)
class Platform:
    """``home`` is where people may have data read and written; ``outside``, beside it, is where they may not."""

    home: Path
    outside: Path
    url: str
    reset: Callable[[], None]
    """Make it what it was at first."""


@pytest.fixture(scope="module")
def platform(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Something of everything (`platform_data`), one for a whole file: that requests change it is part of the proof."""
    from learnloop.database.engine import engine
    from learnloop.models.registry import prepare

    place = tmp_path_factory.mktemp("platform")
    with (
        new_database(postgres) as url,
        new_database(postgres, "template1") as mlflow,
        pytest.MonkeyPatch.context() as patch,
    ):
        name = str(make_url(url).database)
        patch.setenv("LEARNLOOP_HOME", str(place / "state"))
        patch.setenv("LEARNLOOP_DATABASE_URL", url)
        patch.setenv("LEARNLOOP_MLFLOW_URL", mlflow)
        patch.setenv("LEARNLOOP_ALLOWED_ROOTS", str(place / "home"))
        for kind in ("READ", "WRITE", "CLAIM"):
            patch.setenv(f"LEARNLOOP_RATE_{kind}", "0")
        settings.settings.cache_clear()
        engine.cache_clear()
        (place / "outside").mkdir()
        with Session(engine(), expire_on_commit=False) as db:
            populate(db, place / "home", place / "state" / "store")
        prepare(mlflow)
        for number in (1, 2):
            register_model(place / "state" / "models", str(number))
        engine().dispose()
        with new_database(postgres, name) as first:

            def reset() -> None:
                engine().dispose()
                shutil.rmtree(settings.settings().namespaces, ignore_errors=True)
                create(postgres, name, str(make_url(first).database))

            yield Platform(place / "home", place / "outside", url, reset)
        engine().dispose()
        engine.cache_clear()
    settings.settings.cache_clear()
