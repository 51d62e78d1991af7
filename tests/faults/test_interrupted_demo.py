"""Ctrl-C in the middle of `make demo`: a word about it, nothing left running, and the next one works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="learnloop-demo-", dir="/tmp"))  # short: socket paths end at 107 bytes
    yield folder
    subprocess.run([sys.executable, "-m", "learnloop.stack", "down"], env=_environment(folder), check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    "line",
    ["up: waiting for api-server", "step 1: base model", "round 1: scoring", "answers given"],
    ids=["starting", "base-model", "scoring", "training"],
)
def test_ctrl_c_anywhere_stops_everything_and_the_next_demo_works(home: Path, line: str) -> None:
    code, output = _demo(home, interrupt_at=line)
    assert code == 130, output
    assert "stopping what was started" in output or "interrupted" in output
    assert "Traceback" not in output
    assert _left_running(home) == []

    code, output = _demo(home)
    assert code == 0, output
    assert "The loop, round by round" in output


def _demo(home: Path, interrupt_at: str | None = None) -> tuple[int, str]:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "learnloop.stack.demo"],
        env=_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C goes to the whole group
        # Who was started in the background of a shell ignores Ctrl-C, and so would all its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if interrupt_at and interrupt_at in line:
            os.killpg(process.pid, signal.SIGINT)
            interrupt_at = None
    return process.wait(), "".join(lines)


def _left_running(home: Path) -> list[list[str]]:
    """Command lines of processes that have the state directory in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LEARNLOOP_HOME") == str(home):
                found.append(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEARNLOOP_", "AIRFLOW"))}
    return {**kept, "LEARNLOOP_HOME": str(home)}
