"""What the tests of serving share."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from sqlalchemy.orm import Session

from learnloop.monitoring import models

BROKEN_FILE, BROKEN_WEIGHTS = 8, 9
"""Versions that no server may ever serve."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def last_rollbacks(db: Session) -> list[tuple[dict[str, str], float]]:
    """What the figures say of versions that the platform took back: labels and moment."""
    db.rollback()
    (family,) = [one for one in models.serving(db) if one.name == "learnloop_model_last_rollback_timestamp_seconds"]
    return [(sample.labels, sample.value) for sample in family.samples]
