"""The embedded PostgreSQL on a machine of several users."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from waits import eventually

from learnloop.stack import postgres

ASK = """
from learnloop.stack import postgres
print(postgres.library().postgres_server.PostgresServer.lock_path)
"""


def ask(temporary: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False)


def test_its_lock_is_in_a_folder_of_the_user(tmp_path: Path) -> None:
    answer = ask(tmp_path)
    assert answer.returncode == 0, answer.stderr
    folder = tmp_path / f"learnloop-{os.geteuid()}"
    assert Path(answer.stdout.strip()) == folder / "python_PostgresServer" / ".lockfile"
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user's")
def test_a_folder_that_somebody_else_has_put_there_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / f"learnloop-{os.geteuid()}"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    answer = ask(tmp_path)
    assert answer.returncode != 0
    assert f"{folder} must be a folder of user {os.geteuid()}'s" in answer.stderr


def test_a_server_that_was_killed_is_started_again_by_the_process_that_had_started_it() -> None:
    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))  # short: socket paths end at 107 bytes
    try:
        postgres.start(folder)
        for number in (signal.SIGKILL, signal.SIGINT):
            pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, number)
            eventually(lambda: not postgres.running(folder))
            engine = create_engine(postgres.url(postgres.start(folder), "postgres"))
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 1")) == 1
            engine.dispose()
    finally:
        postgres.stop(folder)
        shutil.rmtree(folder)
