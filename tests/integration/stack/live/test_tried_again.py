"""A job that is killed in the running stack is tried again by Airflow, and its run goes on."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import psutil
import pytest

from learnloop.client import LearnloopClient
from learnloop.settings import load
from learnloop.stack.demo import digits
from learnloop.stack.demo.airflow import AirflowClient

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


def job_of(name: str) -> psutil.Process:
    """The job that the fork server of this name runs, as soon as there is one."""
    (server,) = [one for one in psutil.process_iter(["cmdline"]) if name in (one.info["cmdline"] or ())]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for guardian in server.children():
            try:
                jobs = guardian.children()
            except psutil.NoSuchProcess:  # it has just ended
                continue
            if jobs:
                return jobs[0]
        time.sleep(0.01)
    raise AssertionError("no job began")


def test_a_job_that_is_killed_is_tried_again_and_the_model_serves(live_stack, tmp_path: Path) -> None:
    data = digits.write(tmp_path / "digits", "digits-killed", budget=40)
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as scientist:
        airflow = AirflowClient(live_stack.url, scientist.token or "")
        airflow.wait_for_dag("base_model_training")
        run = airflow.trigger("base_model_training", {"path": str(data.dataset), "message": "for tests"})
        job_of(load({"LEARNLOOP_HOME": str(live_stack.home)}).fork_server).kill()
        airflow.wait("base_model_training", run)
        (version,) = scientist.model_versions("digits-killed")
        tasks = httpx.get(
            f"{live_stack.url}/api/v2/dags/base_model_training/dagRuns/{run}/taskInstances",
            headers={"Authorization": f"Bearer {scientist.token}"},
        ).json()["task_instances"]
    assert "base" in version["aliases"]
    assert sorted(task["try_number"] for task in tasks)[-2:] == [1, 2]  # one task, and once
