"""What the running platform tells from outside: one trace of a request, the run it starts, its tasks, their jobs, and whom
a job asks; Airflow's own metrics; OpenLineage's events.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from live_stacks import stack_up
from otlp_receiver import Receiver, receiving

from learnloop.client import LearnloopClient
from learnloop.stack.demo import digits
from learnloop.stack.demo.airflow import AirflowClient

pytestmark = pytest.mark.timeout(1500)
ROOT = Path(__file__).parents[3]
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
JOB = """
import numpy as np
from learnloop.jobs.contract import Job
from learnloop.serving.client import ModelClient
job = Job.current()
with job.phase("ask"), ModelClient(job.params["server"]) as client:
    found = client.infer("digits-live", np.zeros((3, 64)))
print("asked")
job.finish({"labels": found.labels})
"""


def test_one_trace_through_the_running_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)
    events = tmp_path / "lineage.jsonl"
    with (
        receiving() as receiver,
        stack_up(**receiver.environment(), **_of_airflow(receiver, events), LEARNLOOP_LOG_FORMAT="json") as stack,
    ):
        data = digits.write(tmp_path / "digits", "digits-live", budget=40)
        with LearnloopClient.login(stack.url, *stack.users["scientist"]) as scientist:
            airflow = AirflowClient(stack.url, scientist.token or "")
            for dag in ("base_model_training", "score_incoming_data"):
                airflow.wait_for_dag(dag)
            airflow.run("base_model_training", {"path": str(data.dataset), "message": "for tests"})
            airflow.run("score_incoming_data", {"dataset": "digits-live", "path": str(data.pool), "batch": "pool"})
        monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{CALLER}-01")
        env = {"PYTHONPATH": str(ROOT / "include")}
        stage = {"command": [sys.executable, "-c", JOB], "env": env, "params": {"server": stack.serving_url}}
        # A stage with a command of its own is code: scientists may not declare it.
        with LearnloopClient.login(stack.url, *stack.users["admin"]) as admin:
            admin.apply_pipeline({"name": "traced", "stages": {"look": stage}})
            run = admin.run_pipeline("traced")
            *_, last = admin.follow_run(run["dag_id"], run["run_id"])
        assert last["state"] == "success"

        request = receiver.span("POST /pipelines/{name}/runs", TRACE)
        of_run = receiver.span("dag_run.pipeline.traced", TRACE)
        task, worker = receiver.span("task_run.look", TRACE), receiver.span("worker.look", TRACE)
        job = receiver.span(f"job {sys.executable}", TRACE)
        ask, answer = receiver.span("ask", TRACE), receiver.span("POST infer", TRACE)
        assert request.parent == CALLER
        assert request.links == (of_run.id,)
        assert of_run.parent == ""  # as Airflow makes it
        assert (task.parent, worker.parent) == (of_run.id, task.id)
        assert (job.parent, ask.parent, answer.parent) == (worker.id, job.id, ask.id)
        assert answer.attributes["learnloop.rows"] == 3
        assert [span.service for span in (request, of_run, task, worker, job, ask, answer)] == [
            "airflow-api-server",
            "airflow-scheduler",
            "airflow-api-server",  # tells of a task when its end is told
            "airflow-scheduler",  # its LocalExecutor's fork
            "learnloop-job",
            "learnloop-job",
            "learnloop-model-server",
        ]

        logs = list((stack.home / "airflow" / "logs").glob("dag_id=pipeline.traced/run_id=*/task_id=look/*.log"))
        lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        assert [(line["trace_id"], line["run_id"]) for line in lines if line["event"] == "asked"] == [
            (TRACE, run["run_id"])
        ]
        _of_the_loop(receiver.spans())
        sent = {name for path, name in receiver.metrics if path == "/v1/metrics"}
        assert {"airflow.scheduler_heartbeat", "airflow.triggerer_heartbeat"} <= sent
        told = [json.loads(line) for line in events.read_text().splitlines()]
        assert "datasets/digits-live" in {one["name"] for event in told for one in event.get("inputs", [])}
    assert "OTEL_TRACES_EXPORTER" not in os.environ


def _of_airflow(receiver: Receiver, events: Path) -> dict[str, str]:
    """Its own metrics, and OpenLineage's events, as the documentation says to set them."""
    return {
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiver.url}/v1/metrics",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(events), "append": True}),
    }


def _of_the_loop(spans: list[Any]) -> None:
    """Training has its phases, scoring reaches the model server, each in a trace of its own."""
    by_id = {span.id: span for span in spans}
    (fit,) = [span for span in spans if span.name == "fit"]
    job = by_id[fit.parent]
    assert job.name == "job learnloop.training.train"
    assert by_id[job.parent].name == "worker.train"
    asked = [by_id[span.parent].name for span in spans if span.name == "POST infer" and span.trace != TRACE]
    assert asked
    assert {name.partition("[")[0] for name in asked} == {"worker.predict"}
