"""Spans of requests, runs, jobs and model servers, as a receiver of OTLP gets them from the real exporter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import yaml
from otlp_receiver import Receiver, receiving
from s3_server import free_ports
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from learnloop.serving.client import ModelClient
from learnloop.serving.pinned import PinnedServer
from learnloop.settings import settings
from learnloop.training.models import load

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{CALLER}-01"

# What Airflow's processes do, one after the other in one: a request starts a run, a task of it runs a job.
PROGRAM = """
import asyncio, json, logging, sys
from airflow import settings as airflow_settings
airflow_settings.initialize()
import httpx
from airflow.models.dagrun import DagRun
from airflow.sdk.execution_time.task_runner import _make_task_span
from airflow._shared.observability.traces import new_task_run_carrier
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from structlog.contextvars import get_contextvars
from types import SimpleNamespace
from job_tasks import Task
from learnloop_airflow import tracing
from learnloop_airflow.trace_log import on_task_instance_running
from learnloop_plugin import LearnloopPlugin

told = {"listeners": len(LearnloopPlugin.listeners), "active": tracing.active()}

async def start(request):
    run = DagRun(dag_id="d", run_id="r", conf={"airflow/task_span_detail_level": 2}, run_type="manual")
    return JSONResponse({"carrier": dict(run.context_carrier), "log": get_contextvars()})

app = Starlette(routes=[Route("/runs", start, methods=["POST"]), Route("/metrics", start)])
if tracing.active():
    tracing.carry_traces_into_runs()
    app.add_middleware(tracing.Traced)

async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        await client.get("/metrics")
        answer = await client.post("/runs", headers=json.loads(sys.argv[1]))
        return answer.json()

told.update(asyncio.run(ask()))
told["own"] = dict(DagRun(dag_id="d", run_id="later", run_type="manual").context_carrier)
task = new_task_run_carrier(told["carrier"])
told["task"] = task
ti = SimpleNamespace(
    task_id="train", map_index=-1, dag_id="d", run_id="r", try_number=1, context_carrier=task
)
with _make_task_span(SimpleNamespace(ti=ti)):
    on_task_instance_running()
    told["task_log"] = get_contextvars()
    job = Task(json.loads(sys.argv[2]))
    done = job.run()
    told["result"] = done["result"]
    try:
        Task({**json.loads(sys.argv[2]), "idempotency_key": "fails", "params": {"fail": True}}).run()
    except Exception as error:
        told["failed"] = str(error)
getattr(trace.get_tracer_provider(), "force_flush", bool)()
print(json.dumps(told))
"""
JOB = """
import os
from learnloop.jobs.contract import Job
job = Job.current()
with job.phase("read"):
    inside = os.environ.get("TRACEPARENT")
with job.phase("fit"):
    if job.params.get("fail"):
        raise SystemExit("it does not fit")
job.finish({"traceparent": os.environ.get("TRACEPARENT"), "inside": inside,
            "otel": [name for name in os.environ if name.startswith("OTEL")],
            "imported": "opentelemetry" in __import__("sys").modules})
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def run_program(home: Path, database_url: str, headers: dict[str, str], **environment: str) -> dict[str, Any]:
    code = {"command": [sys.executable, "-c", JOB], "env": {"PYTHONPATH": ":".join(sys.path)}}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(headers), json.dumps(code)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AIRFLOW", "LEARN"))},
            "PYTHONPATH": ":".join(
                [*sys.path, str(Path("plugins").resolve())]
            ),  # Airflow adds its plugins' folder itself
            "AIRFLOW_HOME": str(home),
            "LEARNLOOP_HOME": str(home / "learnloop"),
            "LEARNLOOP_DATABASE_URL": database_url,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def test_one_trace_from_the_request_to_the_jobs_phases(receiver: Receiver, tmp_path: Path, database_url: str) -> None:
    on = {"AIRFLOW__TRACES__OTEL_ON": "True", **receiver.environment()}
    told = run_program(tmp_path, database_url, {"traceparent": GIVEN}, **on)
    request = receiver.span("POST /runs", TRACE)
    assert request.parent == CALLER
    assert request.attributes["http.response.status_code"] == 200
    run = told["carrier"]["traceparent"].split("-")
    assert run[1] == TRACE
    assert request.links == (run[2],)  # Airflow's own span of the run takes no parent
    assert "airflow/task_span_detail_level=2" in told["carrier"]["tracestate"]
    assert told["log"]["trace_id"] == told["task_log"]["trace_id"] == TRACE
    worker = receiver.span("worker.train", TRACE)
    assert worker.parent == told["task"]["traceparent"].split("-")[2]
    jobs = [span for span in receiver.spans(TRACE) if span.name == "job " + sys.executable]
    good, failed = sorted(jobs, key=lambda span: span.begun)
    assert {span.parent for span in jobs} == {worker.id}
    assert {span.service for span in jobs} == {"learnloop-job"}
    assert good.error is None
    assert "it does not fit" in (failed.error or "")
    assert failed.error == told["failed"]
    assert told["result"]["traceparent"] == f"00-{TRACE}-{good.id}-01"
    phases = {(span.parent, span.name): span for span in receiver.spans(TRACE) if span.name in ("read", "fit")}
    assert set(phases) == {(job.id, name) for job in jobs for name in ("read", "fit")}
    assert told["result"]["inside"] == f"00-{TRACE}-{phases[good.id, 'read'].id}-01"
    assert phases[failed.id, "fit"].error == "SystemExit: it does not fit"
    for (parent, _), span in phases.items():
        job = good if parent == good.id else failed
        assert job.begun <= span.begun <= span.ended <= job.ended
    assert told["own"]["traceparent"].split("-")[1] != TRACE  # a run that no request started has a trace of its own
    assert not [span for span in receiver.spans() if "metrics" in span.name]
    assert told["result"]["otel"] == []  # what names the receiver may hold a secret
    assert told["result"]["imported"] is False


def test_a_caller_that_does_not_keep_its_trace_has_none_kept(
    receiver: Receiver, tmp_path: Path, database_url: str
) -> None:
    on = {"AIRFLOW__TRACES__OTEL_ON": "True", **receiver.environment()}
    told = run_program(tmp_path, database_url, {"traceparent": GIVEN[:-1] + "0"}, **on)
    assert told["carrier"]["traceparent"].endswith("-00")
    assert told["carrier"]["traceparent"].split("-")[1] == TRACE
    assert receiver.spans() == []


def test_nothing_is_traced_unless_airflow_traces(receiver: Receiver, tmp_path: Path, database_url: str) -> None:
    told = run_program(tmp_path, database_url, {"traceparent": GIVEN}, **receiver.environment())
    assert told["listeners"] == 0
    assert told["active"] is False
    assert told["carrier"]["traceparent"].split("-")[1] != TRACE
    assert "trace_id" not in {**told["log"], **told["task_log"]}
    assert told["result"]["traceparent"] is None
    assert receiver.spans() == []


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(rng.normal(size=(40, 4)), np.repeat(["cat", "dog"], 20))
    skops.io.dump(pipeline, tmp_path / "model.skops")
    flavor = {"pickled_model": "model.skops", "serialization_format": "skops"}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))
    return tmp_path


def test_a_model_servers_span_is_below_its_callers(
    receiver: Receiver, model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in receiver.environment().items():
        monkeypatch.setenv(name, value)
    from dataclasses import replace

    from learnloop.serving.config import ServingConfig

    config = replace(ServingConfig.of(settings()), access_log=True)
    (port,) = free_ports(1)
    server = PinnedServer(
        host="127.0.0.1", port=port, name="pets", version=3, aliases=["current"], folder=model, load=load,
        config=config, drain=0,
    )  # fmt: skip
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        monkeypatch.setenv("TRACEPARENT", GIVEN)  # as in a job
        with ModelClient(server.url) as client, caplog.at_level("INFO", logger="learnloop.serving.access"):
            client.wait_ready("pets")
            client.infer("pets", np.zeros((2, 4)))
            with pytest.raises(Exception, match="404"):
                client.infer("cars", np.zeros((2, 4)))
    finally:
        server.stop()
        thread.join()
    good, wrong = sorted(receiver.spans(TRACE), key=lambda span: span.begun)
    assert (good.service, good.name, good.parent) == ("learnloop-model-server", "POST infer", CALLER)
    assert good.attributes["learnloop.model"] == "pets"
    assert good.attributes["learnloop.model_version"] == "3"
    assert good.attributes["learnloop.rows"] == 2
    assert (wrong.attributes["http.response.status_code"], wrong.error) == (404, None)
    assert [record.fields["trace_id"] for record in caplog.records if hasattr(record, "fields")] == [TRACE, TRACE]
