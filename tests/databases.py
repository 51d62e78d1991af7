"""Databases for tests, on the server that the `postgres` fixture started."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

from learnloop.database.engine import engine


@contextmanager
def new_database(postgres: str) -> Iterator[str]:
    """URL of a new database with Learnloop's tables, dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE learnloop_template"))
    url = with_database(postgres, name)
    yield url
    engine(url).dispose()
    with maintenance.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    maintenance.dispose()


def with_database(url: str, name: str) -> str:
    """``url`` with another database's name."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)
