"""The database goes away, the server is told to stop: what it promises then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from functools import partial

import httpx
import numpy as np
import orjson
import pytest
from serving_support import free_port, wait_until
from sqlalchemy import create_engine, make_url, text

from learnloop.database import ServerReplica, session
from learnloop.models.deployment import wait_until_served
from learnloop.models.registry import prepare, register
from learnloop.serving.client import ModelClient


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


@pytest.fixture
def environment(postgres, maintenance, database_url, registry, tmp_path):
    """The settings of a stack whose MLflow registry has digits version 1."""
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    maintenance.execute(text(f"CREATE DATABASE {name}"))
    mlflow_url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    prepare(mlflow_url)
    version = {"models_root": tmp_path, "tags": {}, "metrics": {}, "idempotency_key": "1", "url": mlflow_url}
    register("digits", registry / "digits" / "1", **version)
    home = {"LEARNLOOP_HOME": str(tmp_path)}
    yield {**os.environ, **home, "LEARNLOOP_DATABASE_URL": database_url, "LEARNLOOP_MLFLOW_URL": mlflow_url}
    maintenance.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_the_command_serves_from_the_registry_drains_on_sigterm_and_signs_off(
    environment, deploy_digits, rows, expected, db
):
    deploy_digits(1)
    port = free_port()
    command = [sys.executable, "-m", "learnloop.serving", "--port", str(port)]
    process = subprocess.Popen(command, env=environment)
    try:
        with ModelClient(f"http://127.0.0.1:{port}") as client:
            wait_until(client.ready, seconds=60)
        tensor = {"name": "features", "datatype": "FP32", "shape": [10, 64], "data": rows.tolist()}
        body = orjson.dumps({"inputs": [tensor]})
        # A request whose body is half there when the signal comes is still answered.
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:100])
            wait_until(lambda: "waiting_requests 1.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not _accepts(port))
            connection.sendall(body[100:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        probabilities = orjson.loads(answer.partition(b"\r\n\r\n")[2])["outputs"][0]["data"]
        np.testing.assert_allclose(probabilities, expected[1].ravel(), atol=1e-6)
        process.wait(timeout=20)
        assert db.query(ServerReplica).all() == []
    finally:
        process.kill()
        process.wait()


def test_a_busy_port_ends_the_server_and_signs_it_off(serve, database_url, tmp_path, db):
    server = serve()
    command = [sys.executable, "-m", "learnloop.serving", "--port", server.url.rpartition(":")[2]]
    environment = {**os.environ, "LEARNLOOP_HOME": str(tmp_path), "LEARNLOOP_DATABASE_URL": database_url}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert b"address already in use" in ended.stderr
    assert [replica.name for replica in db.query(ServerReplica)] == [server.replica]


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
