"""The disk of one machine's stack is full: the supervisor goes on, and what was committed is there afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from campaign.disks import full, small_disk, unmount
from waits import eventually

from learnloop.stack import postgres
from learnloop.stack.places import read_json
from learnloop.stack.supervisor import Supervisor


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ll-full-", dir="/tmp"))  # short: paths of sockets end at 107 bytes
    folder.chmod(0o755)
    if not small_disk(folder, 256):
        folder.rmdir()
        pytest.skip("only root can mount a disk")
    yield folder
    postgres.stop(folder / "postgres")
    unmount(folder)
    folder.rmdir()


def test_what_was_committed_outlasts_a_full_disk_and_an_end_and_a_start_on_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor = Supervisor(home)
    supervisor.places.prepare()
    data = supervisor.places.postgres
    address = postgres.url(postgres.start(data), "postgres").replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as db:
        db.execute("CREATE TABLE kept (number int, text text)")
    kept = 0
    with full(home) as left:
        assert left() == 0
        supervisor.watch()  # it cannot write down how the stack is
        assert "No space left on device" in capsys.readouterr().out
        with psycopg.connect(address, autocommit=True) as db, suppress(psycopg.Error):
            while kept < 100_000:
                db.execute("INSERT INTO kept VALUES (%s, repeat('x', 4000))", (kept,))
                kept += 1
        assert kept < 100_000
        killed = int((data / "postmaster.pid").read_text().splitlines()[0])
        psutil.Process(killed).kill()
        eventually(lambda: not postgres.running(data))
        for _ in range(3):
            supervisor.watch()  # it goes on, whether PostgreSQL starts or not
    eventually(lambda: supervisor.watch() or postgres.running(data), seconds=60)
    assert read_json(supervisor.places.status_file)["state"] == "running"
    with psycopg.connect(address) as db:
        found = db.execute("SELECT count(DISTINCT number) FROM kept").fetchone()
    assert found is not None
    assert kept <= found[0] <= kept + 1  # of the last it was not said what came of it
