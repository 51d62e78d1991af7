"""Whether a pooled connection still has its server, asked before each use and nearly for nothing.

A ping at each use (SQLAlchemy's ``pool_pre_ping``) is a round trip, a tenth of a read's time. A server that ends, or that
ends a connection, says so: its last words, or the end of the stream, wait in the connection's socket, where nothing else
waits while a connection is idle. So looking at the socket is enough; and a connection that was idle for long is pinged, for
what lies between may have forgotten it without a word.
"""

from __future__ import annotations

import select
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

IDLE_SECONDS = 30.0
"""So long a connection may be idle and is not pinged."""

_USED = "learnloop.used"


def look_before_use(engine: Engine) -> None:
    """Have every connection that ``engine`` takes from its pool looked at; a dead one, and all others, are made anew."""
    dialect = engine.dialect

    def taken(connection: Any, record: Any, proxy: Any) -> None:
        used = record.info.get(_USED)
        if used is None or (time.monotonic() - used < IDLE_SECONDS and _is_quiet(connection)):
            return  # new, or as it was left
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError(f"the database ended a connection: {error}") from error

    def given_back(connection: Any, record: Any) -> None:
        record.info[_USED] = time.monotonic()

    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", given_back)


def _is_quiet(connection: Any) -> bool:
    """Whether nothing waits to be read. False for one that is closed."""
    if connection.closed:
        return False
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return not waiting.poll(0)
