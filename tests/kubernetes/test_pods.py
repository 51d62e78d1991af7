"""A job's pod on a real cluster: what it is, what it leaves, and that it runs once."""

import json
from pathlib import Path

import pytest
from job_sources import FAIL, spec
from job_tasks import Task

from learnloop.errors import JobFailed


def test_a_job_runs_locked_down_and_leaves_its_result_and_no_pod(cluster, capfd) -> None:
    task = Task(spec())
    assert task.begin() is None
    waiting = task.in_background()
    event = waiting.join()
    pod = cluster.pods()[0]
    found = task.end(event)
    assert found is not None
    assert found["result"] == {"resumed": False, "seed": 0}
    results = Path(found["results_dir"])
    assert (Path(found["models_dir"]) / "model" / "weights").read_text() == "weights"
    assert (results / "job.log").read_text().splitlines()[-1] == "done"
    assert capfd.readouterr().out.count(" done ") == 1  # passed on once
    assert cluster.pods() == []

    labels = pod["metadata"]["labels"]
    assert labels["learnloop/user"] == "ann"
    assert labels["learnloop/round"] == "7"
    assert labels["learnloop/run"] == "round-digits-7"
    assert labels["learnloop/try"] == "1"
    job = next(container for container in pod["spec"]["containers"] if container["name"] == "job")
    assert job["resources"]["limits"] == job["resources"]["requests"] == {"cpu": "100m", "memory": "128Mi"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["spec"]["initContainers"], job]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_failure_has_its_reason_and_last_lines_and_leaves_no_pod(cluster) -> None:
    task = Task(spec(FAIL, outputs=[]))
    with pytest.raises(JobFailed, match=r"exit code 3; its last lines:\n  reading the data\n  out of ideas"):
        task.run()
    assert cluster.pods() == []


def test_a_retry_after_a_pod_that_succeeded_does_not_train_again(cluster) -> None:
    task = Task(spec())
    assert task.begin() is None
    task.wait()  # the worker that would have gone on is killed: its pod is still there
    assert len(cluster.pods()) == 1
    again = task.run()
    assert again["result"]["resumed"] is False
    runs = Path(again["results_dir"], "progress.jsonl").read_text().splitlines()
    assert len(runs) == 1
    assert cluster.pods() == []


def test_what_a_job_sees_is_its_own(cluster) -> None:
    """No credential, no token, no root, nobody's files but its own, no place to write beside its own folders."""
    code = """
import json, os
from pathlib import Path
from learnloop.jobs.contract import Job
def writable(folder):
    try:
        (Path(folder) / "x").write_text("x")
        return True
    except OSError:
        return False
seen = {
    "uid": os.getuid(),
    "token": Path("/var/run/secrets/kubernetes.io").exists(),
    "root": writable("/") or writable("/opt/learnloop"),
    "store": Path("/stage").exists(),
    "people": sorted(os.listdir("/results")),
    "jobs": len(os.listdir("/results/ann")),
    "variables": [name for name in os.environ if "LEARNLOOP" in name or "PLAN" in name or "AWS" in name],
}
Job.current().finish(seen)
"""
    Task(spec(user="bob")).run()
    seen = Task(spec(code, outputs=[])).run()["result"]
    assert seen.pop("uid") > 0
    assert seen == {
        "token": False,
        "root": False,
        "store": False,
        "people": ["ann"],
        "jobs": 1,
        "variables": [],
    }
    assert json.dumps(seen)
