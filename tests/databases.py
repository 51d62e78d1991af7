"""Databases for tests, on the server that the `postgres` fixture started.

Half a second goes into making a database, as long as into most tests that want one. So one that a test is done with is
emptied, and has another name for the next: what still has the old address finds nothing there, as if it were dropped.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, make_url, text

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


# What a table is, and not what is in it. Statistics too: they would have the next test's statements planned by them.
_SHAPE = """
    SELECT md5(concat(
        (SELECT string_agg(concat_ws(' ', oid, relname, relkind, relchecks, relhastriggers, reloptions), ',' ORDER BY oid)
         FROM pg_class WHERE oid >= 16384),
        (SELECT string_agg(concat_ws(' ', attrelid, attname, atttypid, attnotnull, atthasdef), ',' ORDER BY attrelid, attnum)
         FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0),
        (SELECT string_agg(concat_ws(' ', oid, conname), ',' ORDER BY oid) FROM pg_constraint WHERE oid >= 16384),
        (SELECT string_agg(concat_ws(' ', oid, tgname, tgenabled), ',' ORDER BY oid) FROM pg_trigger),
        (SELECT string_agg(concat_ws(' ', oid, proname), ',' ORDER BY oid) FROM pg_proc WHERE oid >= 16384),
        (SELECT string_agg(concat_ws(' ', oid, nspname), ',' ORDER BY oid) FROM pg_namespace WHERE oid >= 16384),
        (SELECT string_agg(extname, ',' ORDER BY oid) FROM pg_extension),
        (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
        (SELECT string_agg(setconfig::text, ',') FROM pg_db_role_setting),
        (SELECT datacl FROM pg_database WHERE datname = current_database())))
"""
_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE oid >= 16384 AND relkind = 'r'"
_RESTART = """
    SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL
"""


class Emptied:
    """Databases with Learnloop's tables and nothing in them: one at a time from ``take``, back to ``give_back``."""

    def __init__(self, postgres: str, template: str) -> None:
        self._postgres, self._template = postgres, template
        self._spare: list[str] = []
        self._shape = ""

    def take(self) -> str:
        """URL of an empty database, whose name no other has or had."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        if self._spare:
            _run(self._postgres, f"ALTER DATABASE {self._spare.pop()} RENAME TO {name}")
        else:
            create(self._postgres, name, self._template)
        url = with_database(self._postgres, name)
        if not self._shape:
            with _connected(url) as connection:
                self._shape = connection.scalar(text(_SHAPE))
        return url

    def give_back(self, url: str) -> None:
        """Empty it for the next test, or drop it where the test changed more than rows."""
        engine(url).dispose()
        name, spare = str(make_url(url).database), f"spare_{uuid.uuid4().hex[:12]}"
        if not self._hidden(name, spare):
            _run(self._postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            return
        with _connected(with_database(self._postgres, spare)) as connection:
            same = connection.scalar(text(_SHAPE)) == self._shape
            if same:
                _empty(connection)
        if same:
            self._spare.append(spare)
        else:
            _run(self._postgres, f"DROP DATABASE {spare}")

    def _hidden(self, name: str, spare: str) -> bool:
        """End who is connected, and let nobody in again who knows the old name."""
        with _connected(self._postgres) as connection:
            open_to_all = text("SELECT datallowconn AND datconnlimit < 0 FROM pg_database WHERE datname = :name")
            if not connection.scalar(open_to_all, {"name": name}):
                return False
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
            others = text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name")
            if not all(connection.scalars(others, {"name": name})):
                return False
            connection.execute(text(f"ALTER DATABASE {name} RENAME TO {spare}"))
            connection.execute(text(f"ALTER DATABASE {spare} ALLOW_CONNECTIONS true"))
        return True


def _empty(connection: Connection) -> None:
    tables = connection.scalars(text(_TABLES)).all()
    has_rows = ", ".join(f"EXISTS (SELECT 1 FROM {table})" for table in tables)
    found = connection.execute(text(f"SELECT {has_rows}")).one()
    connection.execute(text("SET session_replication_role = replica"))  # in any order, and where a trigger forbids it
    filled = [table for table, has in zip(tables, found, strict=True) if has]
    for table in filled:
        connection.execute(text(f"DELETE FROM {table}"))
    if filled:
        connection.execute(text(f"VACUUM {', '.join(filled)}"))
    connection.execute(text(_RESTART))


def create(postgres: str, name: str, template: str) -> None:
    """Make the database ``name`` anew as a copy of ``template``, to which nobody may be connected."""
    _run(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {template}")


def with_database(url: str, name: str) -> str:
    """``url`` with another database's name."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _run(postgres: str, *statements: str) -> None:
    with _connected(postgres) as connection:
        for statement in statements:
            connection.execute(text(statement))


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    made = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with made.connect() as connection:
            yield connection
    finally:
        made.dispose()
