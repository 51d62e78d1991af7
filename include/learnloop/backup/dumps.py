"""Databases of one moment: dumped by PostgreSQL's own programs from snapshots that are taken together, and loaded again.

Airflow's snapshot is taken first, then Learnloop's, then MLflow's, within milliseconds. Whatever changes in between, the one
taken later has: a round whose run Airflow does not know yet is started by the reconciler, and a model version that no
row of Learnloop's names is found by its idempotency key. The other way round a round would wait for ever.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, inspect, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from learnloop.database.migrate import RESTORING
from learnloop.errors import InvalidInput, LearnloopError, Unavailable

ORDER = ("airflow", "learnloop", "mlflow")
VERSION_TABLES = {"learnloop": "learnloop_alembic_version"}
_CLIENT_ERROR = 2000


@dataclass(frozen=True)
class Snapshot:
    """One database as it was when ``connection``'s transaction began."""

    connection: Connection
    id: str
    revision: str
    server: str


@contextmanager
def snapshots(urls: Mapping[str, str]) -> Iterator[dict[str, Snapshot]]:
    """Snapshots of the databases at ``urls``, by name, all taken before the block begins.

    Raises:
        Unavailable: a database does not answer.
    """
    with ExitStack() as stack:
        connections = {name: stack.enter_context(connected(name, urls[name])) for name in ORDER if name in urls}
        taken = {}
        for name, connection in connections.items():
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            # A snapshot lasts as long as its transaction, whatever limit the server sets on waiting ones.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            snapshot = str(connection.scalar(text("SELECT pg_export_snapshot()")))
            server = server_of(connection)
            taken[name] = Snapshot(connection, snapshot, _revision(name, connection), server)
        yield taken


@contextmanager
def connected(name: str, url: str) -> Iterator[Connection]:
    """A connection that no pool keeps.

    Raises:
        Unavailable: the database is not PostgreSQL's, or does not answer.
    """
    if not url.startswith("postgresql"):
        raise Unavailable(f"{name}'s database is not PostgreSQL's, and only such are backed up and restored")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise Unavailable(f"{name}'s database does not answer: {str(error.orig).strip()}") from error
    try:
        yield connection
    finally:
        connection.close()
        engine.dispose()


def dump(name: str, url: str, snapshot: Snapshot, target: Path) -> None:
    """Write the database, as it was at the snapshot, to ``target``, in pg_dump's custom format."""
    major = major_of(snapshot.server)
    arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot.id}", f"--file={target}"]
    _run(name, "pg_dump", major, url, arguments)


def load(name: str, url: str, source: Path, made_by: str) -> None:
    """Load a dump, which the server ``made_by`` made, into an empty database, in one transaction: all of it or nothing."""
    with connected(name, url) as connection:
        major = max(major_of(server_of(connection)), major_of(made_by))
    arguments = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(source)]
    _run(name, "pg_restore", major, url, arguments)


def server_of(connection: Connection) -> str:
    """PostgreSQL's version, such as ``18.4``."""
    return str(connection.scalar(text("SHOW server_version")))


def major_of(server: str) -> int:
    """PostgreSQL's major version."""
    return int(server.split(".")[0])


def tables(connection: Connection) -> set[str]:
    """The tables that a database has, but for the mark of a restore."""
    return set(inspect(connection).get_table_names()) - {RESTORING}


def being_restored(connection: Connection) -> bool:
    """Whether a restore into this database has not ended."""
    return inspect(connection).has_table(RESTORING)


def begin_restore(name: str, url: str, *, again: bool) -> None:
    """Empty the database of what an earlier restore left, and mark it: until the end nobody may use it."""
    with connected(name, url) as connection:
        if again or being_restored(connection):
            _empty(connection)
        connection.execute(text(f"CREATE TABLE {RESTORING} (since timestamptz DEFAULT now())"))
        connection.commit()


def end_restore(name: str, url: str) -> None:
    with connected(name, url) as connection:
        connection.execute(text(f"DROP TABLE {RESTORING}"))
        connection.commit()


def undo_restore(name: str, url: str) -> None:
    """Have the database be as empty as it was."""
    with connected(name, url) as connection:
        if being_restored(connection):
            _empty(connection)
            connection.commit()


@cache
def program(name: str, major: int) -> str:
    """PostgreSQL's program of that name, of the server's major version or the next newer one: a newer server refuses
    older programs, and an older one does not know all that a newer program sets.

    Raises:
        InvalidInput: there is none.
    """
    seen, fitting = [], []
    for place in (shutil.which(name), *_bundled(name)):
        if place is None:
            continue
        version = subprocess.run([place, "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"(\d+)", version)
        if found and int(found[1]) >= major:
            fitting.append((int(found[1]), place))
        seen.append(f"{place} is {version.strip()}")
    if fitting:
        return min(fitting, key=lambda one: one[0])[1]
    raise InvalidInput(
        f"no {name} for PostgreSQL {major} is here ({'; '.join(seen) or 'none at all'}):"
        f" install the package postgresql-client-{major}"
    )


def _bundled(name: str) -> list[str]:
    """Those that came with the embedded PostgreSQL."""
    from learnloop.stack import postgres

    return [str(path) for path in Path(postgres.library().__file__).parent.glob(f"pginstall*/bin/{name}")]


def _run(name: str, what: str, major: int, url: str, arguments: list[str]) -> None:
    target: URL = make_url(url).set(drivername="postgresql")
    environment = dict(os.environ)
    if target.password is not None:  # not as an argument, which everybody on the machine can read
        environment["PGPASSWORD"] = str(target.password)
    address = URL.create("postgresql", target.username, None, target.host, target.port, target.database, target.query)
    command = [program(what, major), "--dbname", address.render_as_string(hide_password=False), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LearnloopError(f"{what} of {name}'s database failed: {done.stderr.strip()[-_CLIENT_ERROR:]}")


def _revision(name: str, connection: Connection) -> str:
    table = VERSION_TABLES.get(name, "alembic_version")
    if not inspect(connection).has_table(table):
        raise InvalidInput(
            f"{name}'s database has no tables yet: there is nothing to back up (`make up`, `learnloop init`)"
        )
    asked = text(f"SELECT version_num FROM {table}")  # noqa: S608 - one of the names in this file
    return ", ".join(sorted(connection.execute(asked).scalars()))


def _empty(connection: Connection) -> None:
    connection.execute(text("DROP SCHEMA public CASCADE"))
    connection.execute(text("CREATE SCHEMA public"))
