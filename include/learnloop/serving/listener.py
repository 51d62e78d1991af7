"""A thread that hears PostgreSQL's NOTIFY on a connection of its own and reconnects when it is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg
from sqlalchemy import make_url

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
STOP_CHECK = 0.2
"""Seconds between two looks at whether to stop."""

log = logging.getLogger(__name__)


class Listener:
    """Calls ``wake`` after every notification on ``channel`` and after every (re)connection.

    What is notified while the connection is away is lost, so ``wake`` must look at the whole state.
    """

    def __init__(self, database_url: str, channel: str, wake: Callable[[], None]) -> None:
        self._conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._channel = channel
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"listen-{channel}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {self._channel}".encode())
                    delay = FIRST_DELAY
                    self._wake()
                    self._hear(connection)
            except psycopg.OperationalError as error:
                log.warning("Lost the connection that listens on %s, again in %.1f s: %s", self._channel, delay, error)
                self._stopping.wait(delay)
                delay = min(2 * delay, LONGEST_DELAY)

    def _hear(self, connection: psycopg.Connection) -> None:
        while not self._stopping.is_set():
            for _ in connection.notifies(timeout=STOP_CHECK):
                self._wake()
