"""Two model servers, killed again and again in a stream of requests: no wrong answer, none that the other cannot give."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from serving_support import free_port, wait_until
from sqlalchemy import create_engine, make_url, text

from learnloop.database import session
from learnloop.errors import LearnloopError, NotFound
from learnloop.models.deployment import lease_model, wait_until_served
from learnloop.models.registry import prepare, register
from learnloop.serving.client import ModelClient
from learnloop.stack.places import Places, read_json

ROUNDS = 4


class Servers:
    """Two of them, and their supervisor."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.places = Places(home)
        self.ports = [free_port(), free_port()]
        script = Path(__file__).with_name("run_model_servers.py")
        command = [sys.executable, str(script), str(home), *map(str, self.ports)]
        self.supervisor = subprocess.Popen(command, env=environment)

    def status(self, port: int) -> dict[str, int]:
        return read_json(self.places.status_file).get("components", {}).get(str(port), {})

    def kill(self, port: int) -> int:
        pid = self.status(port)["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def back(self, port: int, killed: int) -> bool:
        return self.status(port).get("pid") != killed and self.status(port).get("healthy", False)

    def stop(self) -> None:
        pids = [self.status(port).get("pid") for port in self.ports]
        self.supervisor.send_signal(signal.SIGTERM)
        self.supervisor.wait(timeout=30)
        assert not [pid for pid in pids if pid and psutil.pid_exists(pid)]

    def url(self, place: int) -> str:
        return f"http://127.0.0.1:{self.ports[place % 2]}"


@pytest.fixture
def servers(postgres, database_url, registry, tmp_path):
    """With versions 1 and 2 of digits in their registry."""
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    mlflow_url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    prepare(mlflow_url)
    for version in (1, 2):
        register(
            "digits", registry / "digits" / str(version), models_root=tmp_path / "models", tags={}, metrics={},
            idempotency_key=str(version), url=mlflow_url,
        )  # fmt: skip
    places = {
        "LEARNLOOP_HOME": str(tmp_path),
        "LEARNLOOP_DATABASE_URL": database_url,
        "LEARNLOOP_MLFLOW_URL": mlflow_url,
    }
    running = Servers(tmp_path, {**os.environ, **places})
    yield running
    running.stop()
    with maintenance.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    maintenance.dispose()


@pytest.mark.timeout(900)
def test_servers_killed_in_a_stream_of_requests_answer_rightly_and_come_back_with_the_same_versions(
    servers, deploy_digits, database_url, rows, expected
):
    def served(deployed: tuple[int, int]) -> None:
        wait_until_served(partial(session, database_url), *deployed, timeout=60)

    served(deploy_digits(1))
    with session(database_url) as db:  # what somebody pulled: every server has to have it, also after its end
        lease_model(db, model_name="digits", version=2, holder="pull:ann", duration=timedelta(hours=1), owner="ann")
    wait_until(lambda: all(servers.status(port).get("healthy") for port in servers.ports), seconds=60)
    stop, wrong, unanswered, answered = threading.Event(), [], [], Counter()

    def ask(first: int) -> None:
        """As an application with two addresses does: what one does not answer is asked of the other."""
        clients = {url: ModelClient(url) for url in (servers.url(first), servers.url(first + 1))}
        row = itertools.cycle(range(len(rows)))
        while not stop.is_set():
            number, tried = next(row), []
            for url, client in clients.items():
                try:
                    answer = client.infer("digits", rows[number : number + 1])
                except LearnloopError as error:
                    tried.append(f"{type(error).__name__}: {error}")
                    continue
                answered[(url, answer.model_version)] += 1
                right = expected[answer.model_version][number : number + 1]
                if not np.allclose(answer.probabilities, right, atol=1e-6):
                    wrong.append((number, answer))
                break
            else:
                unanswered.append(tried)
        for client in clients.values():
            client.close()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(ROUNDS):
            version = 2 - number % 2
            port = servers.ports[number // 2]
            killed = servers.kill(port)
            deployed = deploy_digits(version)  # while it is dead
            wait_until(lambda port=port, killed=killed: servers.back(port, killed), seconds=60)
            served(deployed)
            before = Counter(answered)
            url = servers.url(number // 2)
            wait_until(lambda url=url, v=version, old=before: answered[(url, v)] > old[(url, v)] + 4)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert unanswered == []
    for place in (0, 1):
        with ModelClient(servers.url(place)) as client:
            assert client.infer("digits", rows).model_version == version
            pinned = client.infer("digits", rows, version=2)
            np.testing.assert_allclose(pinned.probabilities, expected[2], atol=1e-6)
            with pytest.raises(NotFound):
                client.infer("digits:optimized", rows)
