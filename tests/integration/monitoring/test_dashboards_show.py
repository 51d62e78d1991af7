"""Every query of our dashboards, run against a real Prometheus that a run has filled."""

from __future__ import annotations

from typing import Any

import pytest
from dashboards import DASHBOARDS, queries

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.database import Dataset, session
from learnloop.events.progress import TaskName
from learnloop.events.usage import keep
from learnloop.jobs.spec import parse_spec
from learnloop.jobs.usage import Usage

pytestmark = pytest.mark.timeout(900)
MAY_BE_EMPTY = {
    # what there is only while something is the matter, or waits
    "Age of the open round",
    "Drift",
    "Write locks held",
    "Queue by priority",
    "Longest wait by priority",
    "Cores",
    "Memory",
    "GPUs",
    "Estimated cost of mounts",
    "Notifications unsent",
    "Merges and locks",
    "Versions by tier",
    "Rounds by how they ended",
    # shown by their own tests
    "Accuracy: at the gate, and on new data",
    "Heartbeats of Airflow's parts",
    "Oldest question by state",
    "Refused, faults, rollbacks, failed loads",
}


@pytest.fixture(scope="module")
def filled(watched: Any) -> Any:
    """A dataset that people label and a model that answers, so that everything usual has a figure."""
    watched.dataset("digits", tasks=10)
    watched.deploy("digits", 1)
    with session() as db:
        dataset = db.query(Dataset).filter_by(name="digits").one()
        for _ in range(4):
            submit(db, claim(db, dataset.id, "ben", lease_seconds=60).id, "ben", "cat")
    resources = {"cpu": 1, "memory": "1Gi", "gpu": 1}
    asked = {"user": "ann", "command": ["true"], "idempotency_key": "k", "resources": resources}
    used = Usage(4.0, cpu_seconds=2.0, memory_bytes=2**28, gpu_memory_bytes=2**30, gpus=0.5)
    keep(TaskName("d", "r", "train", -1), 1, parse_spec(asked), used, "local")
    watched.fires('learnloop_deployment_ready_replicas{dataset="digits"} > 0')
    watched.infer("digits", 1)
    watched.get("/datasets")
    watched.fires('learnloop_serving_requests_total{model="digits"} > 0')
    watched.infer("digits", 1)
    watched.fires('rate(learnloop_serving_requests_total{model="digits",status="200"}[1m]) > 0')
    return watched


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_is_sound_and_usual_panels_show_something(name: str, filled: Any) -> None:
    shown: dict[str, bool] = {}
    for title, query in queries(DASHBOARDS[name]):
        shown[title] = shown.get(title, False) or bool(filled.prometheus.query(query))
    empty = {title for title, something in shown.items() if not something}
    assert empty <= MAY_BE_EMPTY
