"""How much one person may ask for: requests a minute, shared by all server processes, and jobs at once.

The limit of requests is GCRA (ITU-T I.371): one timestamp a key, one statement, no sweep. Times are the database's, so
servers need not agree on the clock. A process pays for a few requests at once and lets them in without asking again; what it
has not used within a second it forgets. So never more are let in than the limit says; fewer, by what was forgotten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import delete, func, text
from sqlalchemy.orm import Session

from learnloop.database import RateLimit
from learnloop.database.engine import engine
from learnloop.errors import Conflict, TooManyRequests
from learnloop.permissions import SERVICE

# A row that is not returned is a request that comes too early; it changes nothing. Nobody can have paid for so long ahead as
# is not believed: the database's clock was set back, and the limit begins anew, or people would be shut out for as long.
_TAKE = text(
    """
    INSERT INTO rate_limits AS now (key, paid_until)
    VALUES (:key, clock_timestamp() + make_interval(secs => :cost))
    ON CONFLICT (key) DO UPDATE
       SET paid_until = greatest(
               CASE WHEN now.paid_until < clock_timestamp() + make_interval(secs => :believed) THEN now.paid_until END,
               clock_timestamp()
           ) + make_interval(secs => :cost)
     WHERE greatest(
               CASE WHEN now.paid_until < clock_timestamp() + make_interval(secs => :believed) THEN now.paid_until END,
               clock_timestamp()
           ) + make_interval(secs => :cost)
           <= clock_timestamp() + make_interval(secs => :ahead)
    RETURNING 1
    """
)
_WAIT = text(
    "SELECT extract(epoch FROM paid_until - clock_timestamp()) + :each - :ahead FROM rate_limits WHERE key = :key"
)
_GIVE_BACK = text("UPDATE rate_limits SET paid_until = paid_until - make_interval(secs => :each) WHERE key = :key")
_SLOT = text("SELECT pg_try_advisory_lock(hashtextextended(:slot, 0))")

SET_BACK_SECONDS = 60
"""By how much the database's clock may be set back so that people wait for as long."""
SHARE = 1000
"""A process pays for this part of a minute's worth at once: 30 of 30,000; of less than two thousand, each by itself."""
_KEPT_SECONDS = 1.0
_KEPT_KEYS = 1000

_paid: dict[str, tuple[int, float]] = {}  # of each key: how many are paid for, and since when
_paying = threading.Lock()


def take(key: str, per_minute: int) -> None:
    """Count one request of ``key``. A sixth of ``per_minute`` may come at once; 0 is no limit.

    Raises:
        TooManyRequests: with the seconds until the next one is let in.
    """
    if spend(key, per_minute):
        return
    values = _values(key, per_minute)
    several = max(1, per_minute // SHARE)
    with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for count in dict.fromkeys((several, 1)):
            if connection.scalar(_TAKE, values | {"cost": count * 60 / per_minute}) is not None:
                _keep(key, count - 1)
                return
        wait = max(0.0, float(connection.scalar(_WAIT, values) or 0))
    raise TooManyRequests(
        f"more than {per_minute} requests a minute ({key.split()[0]}): the next is let in in {wait:.1f} s", wait
    )


def spend(key: str, per_minute: int) -> bool:
    """Let one request of ``key`` in that this process has paid for; False: `take` must ask. Waits for nothing."""
    if not per_minute:
        return True
    with _paying:
        left, since = _paid.pop(key, (0, 0.0))
        if left == 0 or time.monotonic() - since > _KEPT_SECONDS:
            return False
        if left > 1:
            _paid[key] = (left - 1, since)
        return True


def _keep(key: str, count: int) -> None:
    if count == 0:
        return
    now = time.monotonic()
    with _paying:
        if len(_paid) >= _KEPT_KEYS:
            for old in [old for old, (_, since) in _paid.items() if now - since > _KEPT_SECONDS]:
                del _paid[old]
        left, since = _paid.get(key, (0, now))  # of another thread that paid just now
        _paid[key] = (count + left, now) if now - since <= _KEPT_SECONDS else (count, now)


def give_back(key: str, per_minute: int) -> None:
    """Uncount a request, such as a login with the right password."""
    if per_minute:
        with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(_GIVE_BACK, _values(key, per_minute))


def forget_idle(session: Session) -> None:
    """Delete what says no more than no row does."""
    session.execute(delete(RateLimit).where(RateLimit.paid_until < func.now()))


def limit_of(user: str, most: int) -> int | None:
    """How many jobs ``user`` may run at once; None: as many as there are, for the platform's own need no place."""
    return None if user == SERVICE.name else most


@contextmanager
def running_job(user: str, most: int) -> Iterator[None]:
    """Hold one of ``user``'s ``most`` places for running jobs; it falls free with this process, however that ends.

    The platform's own jobs need no place.

    Raises:
        Conflict: all places are taken.
    """
    if limit_of(user, most) is None:
        yield
        return
    with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        slots = (f"running job {number} of {user}" for number in range(most))
        held = next((slot for slot in slots if connection.scalar(_SLOT, {"slot": slot})), None)
        if held is None:
            raise Conflict(
                f"{user} runs {most} jobs, and {most} are allowed at once (jobs_per_user): wait until one ends"
            )
        try:
            yield
        finally:
            connection.invalidate()  # the lock is the connection's: it goes with it, also when the server was restarted


def _values(key: str, per_minute: int) -> dict[str, object]:
    each = 60 / per_minute
    ahead = each * max(1, per_minute // 6)
    return {"key": key[:400], "each": each, "ahead": ahead, "believed": ahead + SET_BACK_SECONDS}
