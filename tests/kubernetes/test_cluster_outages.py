"""Outages of the test cluster itself: they need the script that started it, and its state directory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster_tools import CLUSTER
from job_sources import spec
from job_tasks import Task
from model_pods import ALSO_GOOD, GOOD, Models, asking
from waits import eventually

STATE = Path(os.environ.get("KUBECONFIG", "")).parent

pytestmark = [
    pytest.mark.skipif(not CLUSTER.exists(), reason="needs the script of the test cluster (KUBERNETES_CLUSTER)"),
    pytest.mark.timeout(900),
]


def up() -> None:
    subprocess.run([CLUSTER, "up"], check=True, capture_output=True, timeout=200)


@pytest.fixture
def killed() -> Iterator[Callable[[str], None]]:
    """Kill a part of the cluster by its name; all of it runs again afterwards, however the test ends."""

    def kill(part: str) -> None:
        os.kill(int((STATE / "pids" / part).read_text().split()[0]), signal.SIGKILL)

    yield kill
    up()


def running(cluster) -> bool:
    return any(pod["status"]["phase"] == "Running" for pod in cluster.pods())


def test_an_api_server_that_is_killed_and_back_after_a_minute(cluster, killed, capfd) -> None:
    """The job ends while it is away."""
    task = Task(spec(params={"seconds": 20}))
    assert task.begin() is None
    waiting = task.in_background()
    eventually(lambda: running(cluster))
    killed("kube-apiserver")
    gone = time.monotonic()
    eventually(lambda: time.monotonic() - gone > 60, 90)  # what is promised is a minute
    assert waiting.event is None
    assert "does not answer" in capfd.readouterr().out
    up()
    found = task.end(waiting.join())
    assert found is not None
    assert found["result"]["resumed"] is False
    assert cluster.pods() == []


def test_models_answer_and_a_rollout_ends_when_the_api_server_is_killed_in_it(models: Models, killed) -> None:
    """The cluster itself does not go on with the rollout meanwhile; whoever asks the pods does not notice."""
    models.deploy(GOOD, "realtime", "current")
    models.answers("realtime")
    with asking(models.url("realtime")) as asked, ThreadPoolExecutor(1) as pool:
        deploying = pool.submit(models.deploy, ALSO_GOOD, "realtime", "current", timeout=300)
        eventually(lambda: str(ALSO_GOOD) in models.versions_of_pods(), 60)
        killed("kube-apiserver")
        eventually(lambda: any("does not answer" in said for said in models.said), 60)
        asked.wait_for_more(200)
        assert not deploying.done()
        up()
        deploying.result(300)
        asked.wait_for_more(50)
    assert asked.failed == []
    models.leads_to("realtime", ALSO_GOOD)
    models.leads_to("current", ALSO_GOOD)
    assert [row.model_version for row in models.rows()] == [ALSO_GOOD, ALSO_GOOD]


def test_a_node_that_is_restarted(cluster, killed) -> None:
    """All that runs on it ends, and starts again; the job does so from its checkpoint."""
    task = Task(spec(params={"seconds": 600}, timeout_seconds=900))
    assert task.begin() is None
    waiting = task.in_background()
    results = cluster.home / "namespaces" / "results"
    eventually(lambda: any(results.glob("*/*/checkpoint/epoch")), 120)
    subprocess.run([CLUSTER, "down"], check=True, capture_output=True, timeout=100)
    up()
    found = task.end(waiting.join(200))
    assert found is not None
    assert found["result"]["resumed"] is True
    eventually(lambda: cluster.pods() == [])
