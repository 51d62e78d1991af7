"""Declared pipelines in real Airflow: they appear, run, go on where they failed, are cancelled, and keep their version."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from learnloop.client import LearnloopClient
from learnloop.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from learnloop.stack.demo import digits
from learnloop.stack.demo.airflow import AirflowClient

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[4]
JOB = """
import time
from pathlib import Path
from learnloop.jobs.contract import Job
job = Job.current()
while job.params.get("until") and not Path(job.params["until"]).exists():
    time.sleep(0.05)  # until the test lets it end
if job.params.get("needs") and not Path(job.params["needs"]).exists():
    raise SystemExit(3)
print("done", job.params)
job.finish({"accuracy": job.params.get("accuracy", 0.5)})
"""


def stage(*, after: list[str] | None = None, **params: Any) -> dict[str, Any]:
    env = {"PYTHONPATH": str(ROOT / "include")}
    return {"command": [sys.executable, "-c", JOB], "env": env, "params": params, "after": after or []}


@pytest.fixture
def admin(live_stack: Any) -> Iterator[LearnloopClient]:
    with LearnloopClient.login(live_stack.url, *live_stack.users["admin"]) as client:
        yield client


def ended(client: LearnloopClient, run: dict[str, Any]) -> dict[str, Any]:
    """The run, once Airflow says that it has ended."""
    for _ in client.follow_run(run["dag_id"], run["run_id"]):
        pass
    return client.pipeline_run(run["dag_id"].removeprefix("pipeline."), run["run_id"])


def wait_until_told(client: LearnloopClient, run: dict[str, Any], kind: str) -> None:
    deadline = time.monotonic() + 60
    while kind not in [event["kind"] for event in client.events() if event["run_id"] == run["run_id"]]:
        assert time.monotonic() < deadline, client.events()
        time.sleep(0.2)


def states(run: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {each["stage"]: (each["state"], each["tries"]) for each in run["stages"]}


def wait_until_running(client: LearnloopClient, name: str, run_id: str, stage: str) -> None:
    deadline = time.monotonic() + 60
    while states(client.pipeline_run(name, run_id))[stage][0] != "running":
        assert time.monotonic() < deadline, client.pipeline_run(name, run_id)
        time.sleep(0.2)


def test_it_appears_runs_and_a_run_keeps_its_version(admin: LearnloopClient, live_stack: Any, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    first = {"a": stage(until=str(flag)), "b": stage(after=["a"], accuracy=0.7)}
    admin.apply_pipeline({"name": "live-versions", "stages": first})
    run = admin.run_pipeline("live-versions")  # waits until Airflow has it, or raises
    wait_until_running(admin, "live-versions", run["run_id"], "a")
    # A version without the stage that the run has yet to come to.
    admin.apply_pipeline({"name": "live-versions", "stages": {"a": stage(accuracy=0.9), "c": stage(after=["a"])}})
    other = admin.run_pipeline("live-versions")
    assert (run["version"], other["version"]) == (1, 2)
    flag.touch()
    kept, new = ended(admin, run), ended(admin, other)
    assert (kept["version"], kept["state"], states(kept)) == (1, "success", {"a": ("success", 1), "b": ("success", 1)})
    assert (new["version"], new["state"], states(new)) == (2, "success", {"a": ("success", 1), "c": ("success", 1)})
    wait_until_told(admin, run, "finished")
    assert kept["stages"][1]["result"] == {"accuracy": 0.7}
    by_stage = {
        each["stage"]: each for each in admin.compare_pipeline_runs("live-versions", run["run_id"], other["run_id"])
    }
    assert {each["path"]: each["change"] for each in by_stage["a"]["metrics"]}["accuracy"] == pytest.approx(0.4)
    assert [each["run_id"] for each in admin.pipeline_runs("live-versions")] == [other["run_id"], run["run_id"]]
    airflow = AirflowClient(live_stack.url, admin.token or "")
    assert airflow.import_errors() == []


def test_it_goes_on_where_it_failed_and_is_cancelled(admin: LearnloopClient, tmp_path: Path) -> None:
    needs, never = tmp_path / "needs", tmp_path / "never"
    stages = {"a": stage(), "b": stage(after=["a"], needs=str(needs)), "c": stage(after=["b"], until=str(never))}
    admin.apply_pipeline({"name": "live-failing", "stages": stages})
    run = admin.run_pipeline("live-failing")
    failed = ended(admin, run)
    assert failed["state"] == "failed"
    wait_until_told(admin, run, "failed")
    assert "finished" not in [event["kind"] for event in admin.events() if event["run_id"] == run["run_id"]]
    assert states(failed) == {"a": ("success", 1), "b": ("failed", 1), "c": ("upstream_failed", 0)}
    with pytest.raises(Conflict, match="has ended already"):
        admin.cancel_pipeline_run("live-failing", run["run_id"])
    needs.touch()
    assert admin.rerun_pipeline("live-failing", run["run_id"]) == ["b", "c"]
    wait_until_running(admin, "live-failing", run["run_id"], "c")
    with pytest.raises(Conflict, match="under way"):
        admin.remove_pipeline("live-failing")
    with pytest.raises(Conflict, match="under way"):
        admin.release_pipeline("live-failing")
    admin.cancel_pipeline_run("live-failing", run["run_id"])
    cancelled = ended(admin, run)
    assert cancelled["state"] == "failed"
    assert states(cancelled) == {"a": ("success", 1), "b": ("success", 2), "c": ("failed", 1)}
    assert admin.release_pipeline("live-failing") == {"read_leases": 0, "mounts": 0}
    admin.remove_pipeline("live-failing")
    with pytest.raises(NotFound, match="was removed"):
        admin.run_pipeline("live-failing")
    assert admin.pipeline_runs("live-failing")[0]["state"] == "failed"


def test_an_incremental_training_is_derived_from_its_base(
    admin: LearnloopClient, live_stack: Any, tmp_path: Path
) -> None:
    data = digits.write(tmp_path / "digits", "digits-again", budget=20)
    head = admin.snapshot(str(data.dataset))["name"]
    rows = pq.read_table(data.dataset / "annotations.parquet").to_pylist()
    samples = [row["sample_id"] for row in rows if row["split"] == "train"][:2]
    labels = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"sample_id": samples, "label": ["3", "3"]}), labels)
    reads = {"dataset": {"kind": "dataset", "source": "digits-again", "include": ["*.yaml", "*.parquet"]}}
    train = {"module": "learnloop.training.train", "params": {"hidden": [8]}, "inputs": reads}
    admin.apply_pipeline({"name": "live-base", "stages": {"train": {**train, "outputs": ["models/model"]}}})
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as scientist:
        with pytest.raises(PermissionDenied):
            scientist.apply_pipeline({"name": "mine", "stages": {"a": train}})
        with pytest.raises(NotFound, match="no pipeline"):
            scientist.train_incrementally(head, "live-none", str(labels))
        with pytest.raises(NotFound, match="no dataset version"):
            scientist.train_incrementally("none_v1.0", "live-base", str(labels))
        with pytest.raises(InvalidInput, match="there is no file"):
            scientist.train_incrementally(head, "live-base", str(tmp_path / "none"))
        asked = scientist.train_incrementally(head, "live-base", str(labels), personal=True)
        told = list(scientist.follow_run(asked["dag_id"], asked["run_id"]))
        assert told[-1]["state"] == "success", told
        (name,) = scientist.pipeline("live-base")["derived"]
        derived = scientist.pipeline(name)
        assert (derived["extends"], derived["personal"], derived["owner"]) == ("live-base@1", True, "scientist")
        trained_on = derived["provenance"]["trains_on"]
        assert derived["provenance"]["annotations"] == str(labels)
        run = scientist.pipeline_run(name, "incremental")
        assert (run["state"], run["owner"]) == ("success", "scientist")
        assert run["pins"]["train"]["dataset"]["name"] == trained_on
        assert run["stages"][0]["result"]["labels"] > 0
    with pytest.raises(NotFound):
        admin.pipeline(name)
