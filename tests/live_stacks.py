"""The whole stack, started as a person does (`make up`), in a state directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class LiveStack:
    """The whole stack, running: Airflow at ``url``, the page at ``url``/annotate, the model server."""

    home: Path
    url: str
    serving_url: str
    users: dict[str, tuple[str, str]]
    environment: dict[str, str]


@contextmanager
def stack_up(**more: str) -> Iterator[LiveStack]:
    """Start it on free ports with ``more`` in its environment; it is stopped, and what it kept removed, at the end."""
    home = Path(tempfile.mkdtemp(prefix="learnloop-live-", dir="/tmp"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEARNLOOP_")}
    environment |= {"LEARNLOOP_HOME": str(home), **more}

    def stack(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "learnloop.stack", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    for _ in range(3):  # on a busy machine it goes on starting after `up` has lost patience
        started = stack("up")
        if started.returncode == 0:
            break
    else:
        logs = "\n".join(path.read_text()[-2000:] for path in sorted((home / "logs").glob("*.log")))
        stack("down")
        pytest.fail(f"the stack did not start:\n{started.stdout}\n{started.stderr}\n{logs}")
    words = dict(line.split() for line in started.stdout.splitlines() if line.startswith("    "))
    found = json.loads((home / "stack.json").read_text())
    try:
        yield LiveStack(
            home=home,
            url=found["api_url"],
            serving_url=found["serving_url"],
            users={role: (role, words[role]) for role in ("admin", "scientist", "annotator")},
            environment=environment,
        )
    finally:
        stopped = stack("down")
        shutil.rmtree(home, ignore_errors=True)
        assert stopped.returncode == 0, stopped.stderr
