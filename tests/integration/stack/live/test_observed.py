"""What the running platform tells of itself: figures of its real parts, and logs that say whose each line is."""

from __future__ import annotations

import json
import signal
import time

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from learnloop.client import LearnloopClient

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

PARTS = ("dag_processor", "scheduler", "triggerer")


@pytest.fixture
def figure(live_stack):
    """``figure(name, **labels)``: what the API tells an admin now."""
    with LearnloopClient.login(live_stack.url, *live_stack.users["admin"]) as admin:
        token = admin.token

    def read(name: str, **labels: str) -> float | None:
        url = f"{live_stack.url}/learnloop/api/v1/metrics/loop"
        answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        assert answer.status_code == 200, answer.text
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name == f"learnloop_{name}" and sample.labels == labels:
                    return sample.value
        return None

    return read


def test_figures_of_real_parts(live_dataset, figure) -> None:
    for part in PARTS:
        assert figure("airflow_heartbeat_age_seconds", component=part) < 30
    assert figure("airflow_import_errors") == 0
    assert figure("model_server_replicas") == 1
    assert figure("deployment_ready_replicas", dataset=live_dataset.name, alias="current") == 1
    assert 0.3 < figure("model_test_accuracy", dataset=live_dataset.name, alias="current") <= 1
    assert figure("annotation_tasks", dataset=live_dataset.name, state="open") > 0
    for place in ("store", "database"):
        assert figure("disk_size_bytes", place=place) > 2**20


def test_every_line_of_a_runs_tasks_is_json_with_the_run_it_is_of(live_stack, live_dataset) -> None:
    logs = list((live_stack.home / "airflow" / "logs").glob("dag_id=base_model_training/run_id=*/task_id=train/*.log"))
    assert logs
    trained = set()
    for log in logs:
        run_id = log.parent.parent.name.removeprefix("run_id=")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        # Airflow's own marks in the log, such as "::group::Pre Execute", are no line of the run.
        ours = [line for line in lines if not str(line["event"]).startswith(("::group::", "::endgroup::"))]
        assert {(line.get("dag_id"), line.get("run_id"), line.get("task_id")) for line in ours} == {
            ("base_model_training", run_id, "train")
        }
        if any("trained" in str(line["event"]) for line in ours):
            trained.add(log.parent)
    assert trained == {log.parent for log in logs}  # by one of its tries


def test_a_triggerer_that_hangs_is_noticed(live_stack, live_dataset, figure) -> None:
    (triggerer, *_) = [
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get("LEARNLOOP_STACK") == str(live_stack.home)
        and (process.info["cmdline"] or [])[-2:] == ["triggerer", "--skip-serve-logs"]
    ]
    hanging = [triggerer, *triggerer.children(recursive=True)]
    for process in hanging:
        process.send_signal(signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 100
        while figure("airflow_heartbeat_age_seconds", component="triggerer") < 60:
            assert time.monotonic() < deadline
            time.sleep(1)
        assert figure("airflow_heartbeat_age_seconds", component="scheduler") < 30
    finally:
        for process in hanging:
            process.send_signal(signal.SIGCONT)
