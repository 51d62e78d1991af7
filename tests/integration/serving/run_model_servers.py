"""Runs model servers, on the ports given, under the stack's own supervisor; PostgreSQL is there already."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx

from learnloop.stack import supervisor
from learnloop.stack.components import Component


def answers(port: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2).is_success
    except httpx.HTTPError:
        return False


class ModelServers(supervisor.Supervisor):
    def _start(self) -> None:
        self.environment = {**os.environ, supervisor.MARK: str(self.places.home)}
        for port in sys.argv[2:]:
            command = [sys.executable, "-m", "learnloop.serving", "--port", port]
            self.children[port] = self._spawn(Component(port, command, lambda port=port: answers(port)))


class Postgres:
    """The test's, which this supervisor neither starts nor stops."""

    running = staticmethod(lambda folder: True)
    stop = staticmethod(lambda folder: None)


supervisor.postgres = Postgres
ModelServers(Path(sys.argv[1])).run()
