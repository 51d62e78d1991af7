"""Back to a moment between two backups, as docs/backup.md says: a base backup, PostgreSQL's archived log, a target time."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from waits import eventually

from learnloop.backup.dumps import program
from learnloop.database.migrate import upgrade
from learnloop.stack import postgres

pytestmark = pytest.mark.long
ARCHIVING = {
    "wal_level": "replica",
    "archive_mode": "on",
    "archive_timeout": "60",
}
ROW = (
    "INSERT INTO datasets (name, task_type, description, loop, owner)"
    " VALUES (:name, 'image_classification', '', '{}', 'ada')"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ll-pitr-", dir="/tmp"))
    if os.geteuid() == 0:
        postgres.library().get_server(made / "first", cleanup_mode="delete").cleanup()  # makes the user it runs as
    made.chmod(0o777)
    yield made
    for server in ("server", "back"):
        if postgres.running(made / server):
            control(made / server, "stop", "-m", "immediate")
    shutil.rmtree(made)


def run(what: str, *arguments: str) -> None:
    """As the user that servers run as: PostgreSQL refuses root."""
    command = [program(what, 18), *arguments]
    user = "pgserver" if os.geteuid() == 0 else None
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, user=user, cwd="/tmp", check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def control(server: Path, *action: str) -> None:
    run("pg_ctl", "-D", str(server), "-l", f"{server}.log", "-o", f"-h '' -k {server}", "-w", *action)


def configure(server: Path, **settings: str) -> None:
    with (server / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


def address(server: Path, database: str) -> str:
    return f"postgresql+psycopg://postgres@/{database}?host={server}"


def test_a_mistake_is_undone_to_the_moment_before_it(folder: Path) -> None:
    archive, server, base = folder / "archive", folder / "server", folder / "back"
    archive.mkdir()
    archive.chmod(0o777)
    run("initdb", "-D", str(server), "-U", "postgres", "--auth=trust", "--no-sync")
    configure(server, **ARCHIVING, archive_command=f"test ! -f {archive}/%f && cp %p {archive}/%f")
    control(server, "start")
    run("createdb", "-h", str(server), "-U", "postgres", "learnloop")
    upgrade(address(server, "learnloop"))
    engine = create_engine(address(server, "learnloop"))
    with engine.begin() as connection:
        connection.execute(text(ROW), {"name": "before the base backup"})
    run(
        "pg_basebackup",
        "-h",
        str(server),
        "-U",
        "postgres",
        "-D",
        str(base),
        "--checkpoint=fast",
        "--wal-method=stream",
    )
    with engine.begin() as connection:
        connection.execute(text(ROW), {"name": "confirmed after it"})
    with engine.connect() as connection:
        moment = str(connection.scalar(text("SELECT clock_timestamp()")))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(0.01)"))
        connection.execute(text("DELETE FROM datasets"))
        connection.execute(text("SELECT pg_switch_wal()"))
    with engine.connect() as connection:
        last = str(connection.scalar(text("SELECT pg_walfile_name(pg_switch_wal())")))
    eventually(lambda: (archive / last).exists())
    engine.dispose()
    control(server, "stop", "-m", "immediate")
    shutil.rmtree(server)

    configure(
        base, restore_command=f"cp {archive}/%f %p", recovery_target_time=moment, recovery_target_action="promote"
    )
    (base / "recovery.signal").touch(mode=0o666)
    control(base, "start")
    restored = create_engine(address(base, "learnloop"))
    with restored.connect() as connection:
        eventually(lambda: not connection.execute(text("SELECT pg_is_in_recovery()")).scalar())
        names = list(connection.execute(text("SELECT name FROM datasets ORDER BY id")).scalars())
    restored.dispose()
    assert names == ["before the base backup", "confirmed after it"]
