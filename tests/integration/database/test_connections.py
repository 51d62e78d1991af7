"""Connections of the pool: a database that restarts breaks no request that comes after; a healthy one is not asked."""

from __future__ import annotations

import os
import select
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from learnloop.database import Dataset, engine, liveness, reading, session
from learnloop.stack import postgres as embedded


def pids(url: str, many: int = 3) -> set[int]:
    """The server's processes of as many connections, which then wait in the pool."""
    connections = [engine(url).connect() for _ in range(many)]
    found = {connection.scalar(text("SELECT pg_backend_pid()")) for connection in connections}
    for connection in connections:
        connection.close()
    return found


@pytest.fixture
def pings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The pings of the pool's connections."""
    made, sent = engine(database_url), []
    ping = made.dialect.do_ping

    def note(connection: object) -> bool:
        sent.append(connection)
        return ping(connection)

    monkeypatch.setattr(made.dialect, "do_ping", note)
    return sent


def test_connections_that_the_server_ended_are_made_anew(database_url: str, db) -> None:
    before = pids(database_url)
    mine = db.scalar(text("SELECT pg_backend_pid()"))
    for pid in before - {mine}:
        db.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    for use in (session, reading):
        with use(database_url) as again:
            assert again.scalar(text("SELECT 1")) == 1
    assert pids(database_url).isdisjoint(before - {mine})


def test_a_healthy_connection_that_was_just_used_is_not_pinged(database_url: str, pings) -> None:
    for _ in range(5):
        with session(database_url) as db:
            db.execute(text("SELECT 1"))
    assert pings == []


def test_a_connection_that_was_idle_for_long_is_pinged(database_url: str, pings, monkeypatch) -> None:
    pids(database_url, 1)
    monkeypatch.setattr(liveness, "IDLE_SECONDS", 0.0)
    with session(database_url) as db:
        db.execute(text("SELECT 1"))
    assert len(pings) == 1


def test_what_the_server_says_to_an_idle_connection_is_not_taken_for_its_end(database_url: str, db, pings) -> None:
    mine = db.scalar(text("SELECT pg_backend_pid()"))
    with engine(database_url).connect() as listener:
        pid = listener.scalar(text("SELECT pg_backend_pid()"))
        listener.execute(text("LISTEN something"))
        listener.commit()
        heard = listener.connection.dbapi_connection.fileno()
    db.execute(text("NOTIFY something"))
    db.commit()
    assert pid != mine
    assert select.select([heard], [], [], 30)[0]  # it has come, and nobody has read it
    with engine(database_url).connect() as first, engine(database_url).connect() as second:
        found = {one.scalar(text("SELECT pg_backend_pid()")) for one in (first, second)}
    assert pid in found
    assert len(pings) == 1


@pytest.fixture
def own_server() -> str:
    """URL of a PostgreSQL that only this test uses, and breaks."""
    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))
    server = embedded.library().get_server(folder, cleanup_mode="stop")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    yield url
    engine(url).dispose()
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def back(url: str) -> bool:
    """Whether the server takes connections again: asked with one that the pool does not know."""
    apart = create_engine(url)
    try:
        with apart.connect():
            return True
    except OperationalError:
        return False
    finally:
        apart.dispose()


def test_a_server_that_crashes_and_comes_back_breaks_nothing_that_comes_after(own_server: str) -> None:
    before = pids(own_server)
    os.kill(before.pop(), signal.SIGKILL)  # PostgreSQL then ends all its processes, and starts again
    while not back(own_server):
        pass
    for use in (session, reading, session):
        with use(own_server) as db:
            assert db.scalar(text("SELECT 1")) == 1
    assert pids(own_server).isdisjoint(before)


def test_reading_needs_no_transaction_and_writes_nothing(database_url: str, db) -> None:
    with reading(database_url) as mine:
        first, second = (mine.scalar(text("SELECT now()")) for _ in range(2))
        assert second > first
        mine.add(Dataset(name="pets", task_type="image_classification", loop={}, owner="ada"))
    assert db.query(Dataset).count() == 0
    with session(database_url) as after:
        first, second = (after.scalar(text("SELECT now()")) for _ in range(2))
        assert second == first  # the connection is as it was
