"""Rows in every table survive every migration, forth and back, from every revision that there has been."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from databases import create, with_database
from sqlalchemy import JSON, CheckConstraint, Column, Connection, MetaData, Table, create_engine, inspect, text
from test_migrations import VERSION_TABLE

from learnloop.database import Base
from learnloop.database.migrate import downgrade, revisions, upgrade

REVISIONS = revisions()
# What a check wants that is not one of a list of words.
WANTED: dict[str, dict[str, Any]] = {
    "backups": {"state": "complete"},
    "locks": {"mode": "write", "version_id": None},
    "annotation_tasks": {"kind": "gold", "state": "claimed"},
    "annotations": {"outcome": "confirmed", "withdrawn_at": None},
    "dataset_branches": {"state": "committed"},
    "merge_requests": {"state": "merged"},
}
# What a migration back must change, since the older schema cannot say it: (table, columns) by the revision it goes back to.
CHANGED_BACK: dict[str, set[tuple[str, str]]] = {
    "0028": {("events", "kind")},
    "0027": {("reviews", "kind")},
    "0013": {("annotation_tasks", "state"), ("annotations", "outcome"), ("annotations", "owner")},
}


def value(column: Column[Any], words: dict[str, str]) -> Any:
    if column.name in words:
        return words[column.name]
    python = dict if isinstance(column.type, JSON) else column.type.python_type
    length = getattr(column.type, "length", None) or 32
    return {
        int: 1,
        float: 1.0,
        bool: True,
        str: f"a {column.name}"[:length],
        datetime: datetime(2026, 11, 26, tzinfo=UTC),
        dict: {"a": ["b", 1]},
        bytes: b"x",
    }[python]


def words_of(table: Table) -> dict[str, str]:
    """For columns that may hold only certain words, the last of them."""
    found = {}
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            for name, choices in re.findall(r"^(\w+) IN \(([^)]*)\)$", str(constraint.sqltext)):
                found[name] = re.findall(r"'([^']*)'", choices)[-1]
    return found


def fill(connection: Connection) -> None:
    """One row in every table, with a value in every column that may have one."""
    for table in Base.metadata.tables.values():
        connection.execute(text(f"ALTER TABLE {table.name} DISABLE TRIGGER ALL"))  # tables refer to each other in rings
    for table in Base.metadata.tables.values():
        words = {**words_of(table), **WANTED.get(table.name, {})}
        connection.execute(
            table.insert().values({c.name: value(c, words) for c in table.columns if c.computed is None})
        )
    for table in Base.metadata.tables.values():
        connection.execute(text(f"ALTER TABLE {table.name} ENABLE TRIGGER ALL"))


def rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables that there are."""
    metadata = MetaData()
    metadata.reflect(connection)
    return {
        name: [dict(row) for row in connection.execute(table.select()).mappings()]
        for name, table in metadata.tables.items()
        if name != VERSION_TABLE
    }


def differences(
    before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]
) -> set[tuple[str, str]]:
    """(table, column) of what is not as it was, of what both have; a table without its row counts as ``rows``."""
    found = set()
    for name in before.keys() & after.keys():
        if len(before[name]) != len(after[name]):
            found.add((name, "rows"))
            continue
        for old, new in zip(before[name], after[name], strict=True):
            found |= {(name, column) for column in old.keys() & new.keys() if old[column] != new[column]}
    return found


@pytest.fixture(scope="module")
def filled(postgres: str) -> str:
    """The name of a database at the newest revision with a row in every table."""
    create(postgres, "filled_template", "template0")
    url = with_database(postgres, "filled_template")
    upgrade(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()
    return "filled_template"


@pytest.fixture
def database(postgres: str, filled: str) -> str:
    create(postgres, "every_revision", filled)
    return with_database(postgres, "every_revision")


def test_every_table_has_a_row(database: str) -> None:
    with create_engine(database).connect() as connection:
        assert {name for name, found in rows(connection).items() if not found} == set()
        assert set(inspect(connection).get_table_names()) == {*Base.metadata.tables, VERSION_TABLE}


def test_rows_survive_each_step_back_and_forth(database: str) -> None:
    engine = create_engine(database)
    with engine.connect() as connection:
        before = rows(connection)
    for revision in REVISIONS[-2::-1]:
        downgrade(database, revision)
        with engine.connect() as connection:
            after = rows(connection)
        assert differences(before, after) <= CHANGED_BACK.get(revision, set()), revision
        before = after
    for revision in REVISIONS[1:]:
        upgrade(database, revision)
        with engine.connect() as connection:
            after = rows(connection)
        assert differences(before, after) == set(), f"to {revision}"
        assert before.keys() <= after.keys()
        before = after
    engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_from_every_revision_with_rows_in_it_to_the_newest(database: str, revision: str) -> None:
    downgrade(database, revision)
    engine = create_engine(database)
    with engine.connect() as connection:
        before = rows(connection)
    upgrade(database)
    with engine.connect() as connection:
        after = rows(connection)
    assert before
    assert differences(before, after) == set()
    assert before.keys() <= after.keys()
    engine.dispose()
