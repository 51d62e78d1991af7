"""The database goes away, the server is told to stop: what it promises then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from functools import partial

import httpx
import orjson
import pytest
from serving_support import free_port, wait_until
from sqlalchemy import create_engine, make_url, text

from learnloop.database import ServerReplica, session
from learnloop.errors import Unavailable
from learnloop.models.deployment import wait_until_served
from learnloop.serving.client import ModelClient

SERVER = """
import sys
from pathlib import Path
from learnloop.serving.server import ModelServer
from learnloop.training.models import load

port, url, registry = sys.argv[1:]
source_of = lambda name, version: Path(registry, name, str(version))
ModelServer(host="127.0.0.1", port=int(port), database_url=url, source_of=source_of, load=load).run()
"""


@pytest.fixture
def maintenance(postgres):
    """A connection to the same PostgreSQL, but to another database."""
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _terminate(maintenance, database_url):
    name = make_url(database_url).database
    maintenance.execute(
        text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
    )


def test_the_server_keeps_answering_while_the_database_is_away_and_reconciles_later(
    serve, deploy_digits, database_url, maintenance, rows
):
    wait = partial(wait_until_served, partial(session, database_url), timeout=15)
    server = serve()
    wait(*deploy_digits(1))
    name = make_url(database_url).database
    maintenance.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
    _terminate(maintenance, database_url)
    with ModelClient(server.url) as client:
        wait_until(lambda: not server.metrics.database_up)
        assert client.infer("digits", rows).model_version == 1
        assert client.ready()
        maintenance.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        wait(*deploy_digits(2))
        assert client.infer("digits", rows).model_version == 2
        assert server.reconciler.live


def test_lost_connections_are_made_again(serve, deploy_digits, database_url, maintenance, rows):
    server = serve()
    for version in (1, 2, 1):
        _terminate(maintenance, database_url)
        wait_until_served(partial(session, database_url), *deploy_digits(version), timeout=15)
        with ModelClient(server.url) as client:
            assert client.infer("digits", rows).model_version == version


def test_sigterm_drains_and_signs_off(deploy_digits, database_url, registry, rows, db):
    deploy_digits(1)
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port), database_url, str(registry)], env=os.environ)
    try:
        client = ModelClient(f"http://127.0.0.1:{port}")
        wait_until(client.ready, seconds=30)
        body = orjson.dumps(
            {
                "inputs": [
                    {"name": "features", "datatype": "FP32", "shape": [10, 64], "data": rows.ravel().tolist()},
                ]
            }
        )
        # A request whose body is half there when the signal comes is still answered.
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:100])
            wait_until(lambda: "waiting_requests 1" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not _accepts(port))
            connection.sendall(body[100:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["model_version"] == "1"
        process.wait(timeout=20)
        assert db.query(ServerReplica).all() == []
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port} does not answer"):
            client.infer("digits", rows)
        client.close()
    finally:
        process.kill()
        process.wait()


def test_a_busy_port_ends_the_server_and_signs_it_off(serve, database_url, registry, db):
    server = serve()
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-c", SERVER, port, database_url, str(registry)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode != 0
    assert [replica.name for replica in db.query(ServerReplica)] == [server.replica]


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
