"""The migrations make just the tables that the models declare, and can be taken back."""

from __future__ import annotations

import uuid

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, make_url, text

from learnloop.database import Base
from learnloop.database.migrate import downgrade, upgrade

VERSION_TABLE = "learnloop_alembic_version"


@pytest.fixture
def empty_database(postgres: str):
    name = f"empty_{uuid.uuid4().hex[:12]}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgres).set(database=name).render_as_string(hide_password=False)
    with maintenance.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    maintenance.dispose()


def test_migrations_make_what_the_models_declare(empty_database: str) -> None:
    upgrade(empty_database)
    with create_engine(empty_database).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
        assert inspect(connection).has_table(VERSION_TABLE)


def test_migrations_make_tables_as_durable_as_the_models_say(empty_database: str, db) -> None:
    unlogged = text("SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'")
    upgrade(empty_database)
    with create_engine(empty_database).connect() as connection:
        assert list(connection.scalars(unlogged)) == list(db.scalars(unlogged)) == ["rate_limits"]


def test_migrations_can_be_taken_back(empty_database: str) -> None:
    upgrade(empty_database)
    downgrade(empty_database, "base")
    with create_engine(empty_database).connect() as connection:
        assert set(inspect(connection).get_table_names()) == {VERSION_TABLE}
    upgrade(empty_database)
