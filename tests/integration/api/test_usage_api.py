"""What a real job on this machine used: in its task's log, over the API, on a terminal, and for Prometheus."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from job_tasks import Task
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.orm import Session
from test_data_cli import run  # noqa: F401 - fixture

from learnloop.database import session
from learnloop.errors import JobFailed
from learnloop.jobs import usage
from learnloop.loop.upkeep import KEEP_USAGE_DAYS, release_lapsed
from learnloop.monitoring.collector import Collector, loop_parts

MIB = 2**20
WORK = """
import sys, time
from learnloop.jobs.contract import Job
job = Job.current()
held = bytearray(80 * 2**20)
while time.process_time() < 0.5:
    pass
time.sleep(1)  # it is looked at now and then
if job.params.get("fail"):
    sys.exit(3)
job.finish({})
"""


def task(run_id: str, **fields: Any) -> Task:
    env = {"PYTHONPATH": ":".join(sys.path)}
    return Task({"command": [sys.executable, "-c", WORK], "env": env, **fields}, run_id=run_id)


def test_what_a_job_used_beside_what_it_asked_for(
    app: Any,
    db: Session,
    as_user: Any,
    run: Any,  # noqa: F811 - fixture
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Else a machine on which the job's imports take a second may not look at all between its allocation and its end.
    monkeypatch.setattr(usage, "EVERY_SECONDS", 0.05)
    task("r1", resources={"cpu": 2, "memory": "2Gi"}).run()
    task("r1", resources={"cpu": 2, "memory": "2Gi"}).run()  # its result is there: nothing is measured anew
    failing = task("r2", resources={"cpu": 1, "memory": "40Mi"}, params={"fail": True}, idempotency_key="f")
    for _ in range(2):
        with pytest.raises(JobFailed):
            failing.run()
    logged = capsys.readouterr().out  # where Airflow's logging writes without Airflow
    (line,) = re.findall(r"asked for 2 GiB.*?on average over [\d.]+ s", logged)
    assert "asked for 2 GiB of memory, used at most" in line
    assert "asked for 2 processors, used 0." in line
    assert "that is more than it asked for: let it ask for" in logged

    (used,) = as_user("sam", "scientist").get("/runs/incremental_training/r1/usage").json()["items"]
    assert (used["task_id"], used["try_number"], used["runner"], used["owner"]) == ("train", 1, "local", "ann")
    assert (used["asked_cpu"], used["asked_memory"], used["asked_gpu"]) == (2, 2 * 2**30, 0)
    assert 80 * MIB < used["memory_bytes"] < 200 * MIB
    assert 0.5 <= used["cpu_seconds"] < used["seconds"]
    assert used["cpus"] == pytest.approx(used["cpu_seconds"] / used["seconds"])
    assert used["gpu_memory_bytes"] is None
    assert used["words"] == line
    tries = as_user("sam", "scientist").get("/runs/incremental_training/r2/usage").json()["items"]
    assert [one["try_number"] for one in tries] == [1, 2]
    assert as_user("sam", "scientist").get("/runs/incremental_training/other/usage").json() == {"items": []}

    assert f"train, try 1: {line}" in run("sam", "run", "usage", "incremental_training", "r1").output
    assert "no job of this run" in run("sam", "run", "usage", "incremental_training", "other").output

    told = {
        sample.name: sample.value
        for family in text_string_to_metric_families(Collector(loop_parts(session)).text().decode())
        for sample in family.samples
        if sample.labels == {"dag": "incremental_training", "task": "train", "runner": "local"}
    }
    assert told["learnloop_jobs_measured"] == 3
    assert told["learnloop_job_memory_max_bytes"] >= used["memory_bytes"]
    assert told["learnloop_job_memory_used_ratio"] > 2  # of 40Mi
    assert 0 < told["learnloop_job_cpu_used_ratio"] < 1
    assert "learnloop_job_gpu_memory_max_bytes" not in told

    db.execute(text("UPDATE job_usages SET created_at = now() - make_interval(days => :days)"), {"days": 91})
    assert KEEP_USAGE_DAYS == 90
    assert release_lapsed(db, audit_days=90)["job usage"] == 3
    assert as_user("eve", "viewer").get("/runs/incremental_training/r1/usage").status_code == 403
