"""Whoever starts a run sees how far it is, and is told how it ended: by real Airflow, from its own callbacks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from learnloop.client import LearnloopClient
from learnloop.stack.demo import digits
from learnloop.stack.demo.airflow import AirflowClient, RunFailed

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@pytest.fixture
def scientist(live_stack):
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as client:
        yield client


@pytest.fixture
def airflow(live_stack, scientist) -> AirflowClient:
    client = AirflowClient(live_stack.url, scientist.token)
    client.wait_for_dag("base_model_training")
    return client


def event_of(client: LearnloopClient, run_id: str, kind: str) -> dict[str, Any]:
    """The event, once it is there: Airflow runs a DAG's callbacks after the run."""
    deadline = time.monotonic() + 90
    while True:
        for event in client.events(200):
            if (event["run_id"], event["kind"]) == (run_id, kind):
                return event
        assert time.monotonic() < deadline, client.events(200)
        time.sleep(0.3)


def test_a_run_is_followed_to_its_end(scientist, airflow, tmp_path: Path) -> None:
    data = digits.write(tmp_path / "digits", "digits-told", budget=40)
    run_id = airflow.trigger("base_model_training", {"path": str(data.dataset), "message": "for tests"})
    told = list(scientist.follow_run("base_model_training", run_id))
    assert told[-1] == {"dag_id": "base_model_training", "run_id": run_id, "state": "success"}
    states = {task["task_id"]: task["state"] for task in told[:-1]}
    assert set(states.values()) == {"success"}
    trained = [task["progress"] for task in told[:-1] if task["task_id"] == "train" and task["progress"]]
    assert trained[-1]["epoch"] > 0
    assert "running" in {task["state"] for task in told[:-1]}
    assert event_of(scientist, run_id, "admitted")["text"].endswith("begins")
    finished = event_of(scientist, run_id, "finished")
    assert finished["text"] == f"base_model_training {run_id} finished"
    assert finished["link"].endswith(f"/runs/{run_id.replace(':', '%3A').replace('+', '%2B')}")


def test_who_started_a_run_is_told_why_it_failed(scientist, airflow, tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("name: nothing\ntask_type: image_classification\nclasses: [a, b]\n")
    with pytest.raises(RunFailed):
        airflow.run("base_model_training", {"path": str(tmp_path), "message": "for tests"})
    (event,) = [event for event in scientist.events(200) if str(tmp_path) in event["text"]]
    assert (event["kind"], event["dag_id"]) == ("failed", "base_model_training")
    assert "failed: task validate" in event["text"]
    assert "image: is missing" in event["text"]
