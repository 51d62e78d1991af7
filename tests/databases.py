"""Databases for tests, on the server that the `postgres` fixture started."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

from learnloop.database.engine import engine


@contextmanager
def new_database(postgres: str, template: str = "learnloop_template") -> Iterator[str]:
    """URL of a new database with Learnloop's tables, dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create(postgres, name, template)
    url = with_database(postgres, name)
    yield url
    engine(url).dispose()
    _run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def create(postgres: str, name: str, template: str) -> None:
    """Make the database ``name`` anew as a copy of ``template``, to which nobody may be connected."""
    _run(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {template}")


def with_database(url: str, name: str) -> str:
    """``url`` with another database's name."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _run(postgres: str, *statements: str) -> None:
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    maintenance.dispose()
