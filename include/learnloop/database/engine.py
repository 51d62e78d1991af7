"""Connections to Learnloop's own database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from learnloop.database.liveness import look_before_use
from learnloop.database.outbox import OUTBOX_CHANNEL, OutboxMessage
from learnloop.errors import Unavailable
from learnloop.settings import settings

if TYPE_CHECKING:
    import psycopg


@cache
def engine(url: str | None = None) -> Engine:
    """The engine for ``url`` (default: the settings' database), one a process."""
    url = url or settings().database_url
    if not url.startswith("postgresql"):
        raise Unavailable(
            "Learnloop's database is not configured: LEARNLOOP_DATABASE_URL must be a PostgreSQL URL"
            " (postgresql+psycopg://user@host/name). Is the stack up? `make up` sets it."
        )
    made = create_engine(url, pool_size=10, max_overflow=20)
    look_before_use(made)
    # Airflow's executors fork: a connection shared by two processes corrupts both conversations.
    os.register_at_fork(after_in_child=lambda: made.dispose(close=False))
    return made


@contextmanager
def session(url: str | None = None) -> Iterator[Session]:
    """One transaction: committed at the end of the block, rolled back when it raises."""
    with Session(engine(url) if url else engine(), expire_on_commit=False) as opened, opened.begin():
        yield opened


@contextmanager
def reading(url: str | None = None) -> Iterator[Session]:
    """A session that only reads: each statement sees what is committed by then, as in a transaction of `session`'s.

    Without a transaction around them statements cost two round trips less. Nothing that is added or changed is written.
    """
    with Session(engine(url) if url else engine(), expire_on_commit=False, autoflush=False) as opened:
        opened.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        yield opened


def tell(opened: Session, message: OutboxMessage) -> None:
    """Write ``message`` to the outbox and wake whoever listens, when (and only when) this transaction commits."""
    opened.add(message)
    opened.execute(text(f"NOTIFY {OUTBOX_CHANNEL}"))


@asynccontextmanager
async def listening(channel: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection of its own on which ``notifies()`` gives what is told on ``channel`` from here on."""
    import psycopg

    url = settings().database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    try:
        await connection.execute(f"LISTEN {channel}".encode())
        yield connection
    finally:
        await connection.close()
