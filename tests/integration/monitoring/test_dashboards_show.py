"""Every query of our dashboards, run against a real Prometheus that a run has filled."""

from __future__ import annotations

from typing import Any

import pytest
from alert_faults import lock_wait_long, merge_unanswered, notifications_given_up
from dashboards import DASHBOARDS, queries
from model_faults import accuracy_dropped, moved
from platform_faults import airflow_component_silent
from platform_in_use import jobs_in_line, planned_mount, two_versions

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.database import Dataset, session
from learnloop.datasets.store import Store
from learnloop.events.progress import TaskName
from learnloop.events.usage import keep
from learnloop.jobs.spec import parse_spec
from learnloop.jobs.usage import Usage
from learnloop.loop.rounds import start_round
from learnloop.settings import settings

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def filled(watched: Any) -> Any:
    """What panels are about, made by the product's own functions: labels, a round, models, jobs in line, locks, merges."""
    watched.dataset("digits", tasks=10, labels=4)
    watched.deploy("digits", 1)
    with session() as db:
        dataset = db.query(Dataset).filter_by(name="digits").one()
        for _ in range(4):
            submit(db, claim(db, dataset.id, "ben", lease_seconds=60).id, "ben", "cat")
    with session() as db:
        start_round(db, "round-digits-0")
        planned_mount(db, "r")
        two_versions(db, Store(settings().store), watched.folder / "versions")
    jobs_in_line()
    for fault in (accuracy_dropped, airflow_component_silent, lock_wait_long, merge_unanswered, notifications_given_up):
        fault(watched)
    moved(watched, "moved")
    asked = {
        "user": "ann",
        "command": ["true"],
        "idempotency_key": "k",
        "resources": {"cpu": 1, "memory": "1Gi", "gpu": 1},
    }
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
def test_every_query_is_sound_and_every_panel_shows_something(name: str, filled: Any) -> None:
    shown: dict[str, bool] = {}
    for title, query in queries(DASHBOARDS[name]):
        shown[title] = shown.get(title, False) or bool(filled.prometheus.query(query))
    assert [title for title, something in shown.items() if not something] == []
