"""Live requests to models in pods come back into the loop: read through the API server, with the rights that we ship."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from model_pods import ALSO_GOOD, GOOD, Models, png
from sklearn.datasets import load_digits
from sqlalchemy import select
from waits import eventually

from learnloop.database import Dataset, LiveReader, LiveSample, LiveWindow, session
from learnloop.serving.client import ModelClient
from learnloop.serving.handover import HEADER, PATH
from learnloop_airflow.operators.deploy import DeployOperator
from learnloop_airflow.operators.live_requests import ReadLiveRequestsOperator
from learnloop_airflow.operators.maintenance import FollowDeploymentsOperator

pytestmark = pytest.mark.timeout(900)
CONTEXT: Any = {"dag_run": SimpleNamespace(triggering_user_name="ann"), "run_id": "round-digits-7"}
IMAGES = load_digits().data


def wants(**rules: Any) -> None:
    with session() as db:
        db.scalars(select(Dataset)).one().loop = {"live": rules} if rules else {}


def deploy(version: int) -> None:
    gate = {"accepted": True, "dataset": "digits", "model_name": "digits", "model_version": version}
    DeployOperator(task_id="deploy", gate=gate, alias="realtime", timeout_seconds=200).execute(CONTEXT)


def read() -> dict[str, Any]:
    return ReadLiveRequestsOperator(task_id="read").execute(CONTEXT)


def ask(models: Models, start: int, stop: int) -> None:
    """Each row by a connection of its own, so that all pods are asked."""
    for row in IMAGES[start:stop]:
        with ModelClient(models.url("realtime")) as client:
            client.infer_samples("digits", [png(row)])


def counted() -> dict[int, int]:
    found: dict[int, int] = {}
    with session() as db:
        for window in db.scalars(select(LiveWindow)):
            found[window.model_version] = found.get(window.model_version, 0) + window.rows
    return found


def test_rows_and_unsure_samples_of_pods_are_read_once_and_before_the_pods_go(deployed: Models) -> None:
    wants(record=1.0, ask_below=1.0, ask_a_day=12)
    deploy(GOOD)
    deployed.answers("realtime")  # by its features, once: a row, and no sample
    ask(deployed, 0, 40)
    found = read()
    assert (found["rows"], found["failed"]) == (41, [])
    assert 12 <= found["samples"] <= 40
    assert read() == {"rows": 0, "samples": 0, "failed": []}
    with session() as db:
        kept = db.scalars(select(LiveSample)).all()
        assert len(kept) == 12
        assert {sample.data for sample in kept} <= {png(row) for row in IMAGES[:40]}
        token = db.scalars(select(LiveReader.token)).one()
    assert token not in json.dumps(deployed.cluster.pods())  # pods have no credentials

    ask(deployed, 40, 60)
    deploy(ALSO_GOOD)  # reads what the pods that go have
    assert counted() == {GOOD: 61}

    wants()
    FollowDeploymentsOperator(task_id="follow").execute(CONTEXT)

    def all_are_new() -> bool:
        arguments = [pod["spec"]["containers"][0]["args"] for pod in deployed.cluster.pods()]
        return len(arguments) == 2 and not any("--live" in one for one in arguments)

    eventually(all_are_new, 120)
    ask(deployed, 60, 65)
    assert read() == {"rows": 0, "samples": 0, "failed": []}
    assert counted() == {GOOD: 61}


def test_only_the_platform_reads_what_a_pod_noted(deployed: Models) -> None:
    wants(record=1.0)
    deploy(GOOD)
    deployed.answers("realtime")
    for headers in ({}, {HEADER: "a guess"}):
        answer = httpx.get(deployed.url("realtime") + PATH, headers=headers)
        assert (answer.status_code, "windows" in answer.text) == (403, False)
    assert read()["rows"] == 1
