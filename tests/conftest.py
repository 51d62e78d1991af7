"""Fixtures for all tests: a real PostgreSQL, started once, and an empty database for each test that asks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from databases import new_database, with_database
from long_proofs import mark_long
from s3_server import s3, s3_server  # noqa: F401 - fixtures
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from workers import ByGroup, group_of, move_groups_to_the_front
from xdist.remote import Producer

from learnloop.database import Base
from learnloop.database.engine import engine

# No unit test is timed: a busy machine is no fault of the code's.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_long(items)
    move_groups_to_the_front(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    return ByGroup(config, log)


STARTED: list[Callable[[], None]] = []
"""What stops the running stack, while there is one."""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The stack takes a part of a processor also when nobody asks it anything: it ends with the last test that does."""
    if group_of(item.nodeid) == "stack" and (nextitem is None or group_of(nextitem.nodeid) != "stack"):
        _stop_live_stack()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """SQLAlchemy URL of the maintenance database of a PostgreSQL server that lives as long as the test run."""
    from learnloop.stack import postgres as embedded

    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))  # short: socket paths end at 107 bytes
    server = embedded.library().get_server(folder, cleanup_mode="stop")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    maintenance = create_engine(url, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text("CREATE DATABASE learnloop_template"))
    template = create_engine(with_database(url, "learnloop_template"))
    Base.metadata.create_all(template)
    template.dispose()
    maintenance.dispose()
    yield url
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """A new database, dropped after the test."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture
def db(database_url: str) -> Iterator[Session]:
    """A session on an empty database. Commit in the test what another connection should see."""
    with Session(engine(database_url), expire_on_commit=False) as session:
        yield session


@dataclass(frozen=True)
class LiveDataset:
    """A dataset of the live stack whose base model serves and whose pool was scored: there are tasks to answer."""

    name: str
    truth: dict[str, str]
    classes: list[str]


@dataclass(frozen=True)
class LiveStack:
    """The whole stack, running: Airflow at ``url``, the page at ``url``/annotate, the model server."""

    home: Path
    url: str
    serving_url: str
    users: dict[str, tuple[str, str]]
    environment: dict[str, str]


@pytest.fixture(scope="session")
def live_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """Started once for the whole run, in a state directory of its own, on free ports; stopped after its last test."""
    import json
    import os
    import subprocess
    import sys

    home = Path(tempfile.mkdtemp(prefix="learnloop-live-", dir="/tmp"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEARNLOOP_")}
    environment["LEARNLOOP_HOME"] = str(home)

    def stack(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "learnloop.stack", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    started = stack("up")
    if started.returncode != 0:
        logs = "\n".join(path.read_text()[-2000:] for path in sorted((home / "logs").glob("*.log")))
        stack("down")
        pytest.fail(f"the stack did not start:\n{started.stdout}\n{started.stderr}\n{logs}")

    def stop() -> None:
        stopped = stack("down")
        shutil.rmtree(home, ignore_errors=True)
        assert stopped.returncode == 0, stopped.stderr

    STARTED.append(stop)
    words = dict(line.split() for line in started.stdout.splitlines() if line.startswith("    "))
    roles = ("admin", "scientist", "annotator")
    found = json.loads((home / "stack.json").read_text())
    yield LiveStack(
        home=home,
        url=found["api_url"],
        serving_url=found["serving_url"],
        users={role: (role, words[role]) for role in roles},
        environment=environment,
    )
    _stop_live_stack()


def _stop_live_stack() -> None:
    while STARTED:
        stop = STARTED.pop()
        stop()


@pytest.fixture(scope="session")
def live_dataset(live_stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> LiveDataset:
    """scikit-learn's digits, brought in as a person would: both DAGs triggered through Airflow's API."""
    from learnloop.client import LearnloopClient
    from learnloop.stack.demo import digits
    from learnloop.stack.demo.airflow import AirflowClient

    data = digits.write(tmp_path_factory.mktemp("live") / "digits", "digits-live", budget=40)
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as scientist:
        airflow = AirflowClient(live_stack.url, scientist.token or "")
        for dag in ("base_model_training", "score_incoming_data"):
            airflow.wait_for_dag(dag)
        airflow.run("base_model_training", {"path": str(data.dataset), "message": "for tests"})
        airflow.run("score_incoming_data", {"dataset": "digits-live", "path": str(data.pool), "batch": "pool"})
    return LiveDataset("digits-live", data.truth, digits.CLASSES)
