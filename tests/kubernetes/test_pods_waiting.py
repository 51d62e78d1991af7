"""What a job waits for, shown, and what it does not wait for."""

from datetime import timedelta
from pathlib import Path

import pytest
from job_sources import TRAIN, spec
from job_tasks import Task
from sqlalchemy import select
from sqlalchemy.orm import Session
from waits import eventually

from learnloop.database import Event, JobProgress
from learnloop.errors import InvalidInput, JobFailed, JobKilled
from learnloop.settings import settings


def shown(db: Session) -> str:
    """What the job's progress says, to whom asks our API."""
    db.rollback()
    found = db.scalar(select(JobProgress.line))
    return str(found.get("reason", "")) if found else ""


def test_an_image_that_cannot_be_pulled_fails_fast_with_the_reason(cluster) -> None:
    task = Task(spec(image="nobody.invalid/no/such:1"))
    with pytest.raises(JobFailed, match=r"Image cannot be pulled.*nobody\.invalid/no/such:1"):
        task.run()
    eventually(lambda: cluster.pods() == [])


def test_a_secret_that_is_missing_is_named(cluster) -> None:
    with pytest.raises(JobFailed, match=r'container job cannot be started: .*secret "hub" not found'):
        Task(spec(secrets={"TOKEN": "hub/token"})).run()
    with pytest.raises(InvalidInput, match=r"secret TOKEN refers to 'hub'; on Kubernetes it is SECRET/KEY"):
        Task(spec(secrets={"TOKEN": "hub"})).run()
    cluster.kubectl("create", "secret", "generic", "hub", "--from-literal=token=s3cret")
    code = TRAIN.replace("job.finish({", "job.finish({'length': len(os.environ['TOKEN']), ")
    found = Task(spec(code, secrets={"TOKEN": "hub/token"})).run()
    assert found["result"]["length"] == 6
    assert "s3cret" not in Path(found["results_dir"], "job.json").read_text()


def test_a_full_quota_is_waited_for_and_the_reason_shown(cluster, db) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}}
    cluster.apply(quota)
    eventually(lambda: cluster.kubectl("get", "quota", "q", "-o", "jsonpath={.status.hard.pods}"))
    task = Task(spec())
    assert task.begin() is None
    waiting = task.in_background()
    eventually(lambda: "exceeded quota: q" in shown(db))
    assert cluster.pods() == []
    assert waiting.event is None
    cluster.apply({**quota, "spec": {"hard": {"pods": "5"}}})
    found = task.end(waiting.join())
    assert found is not None
    assert db.scalar(select(Event.kind)) == "admitted"  # told once it began, not while it waited


def test_what_cannot_be_scheduled_is_waited_for_and_the_reason_shown(cluster, db) -> None:
    task = Task(spec(node_pool="fast"))
    assert task.begin() is None
    waiting = task.in_background()
    eventually(lambda: "not scheduled yet: 0/1 nodes are available" in shown(db))
    assert waiting.event is None
    cluster.kubectl("label", "node", "--all", "learnloop/node-pool=fast")
    try:
        found = task.end(waiting.join())
    finally:
        cluster.kubectl("label", "node", "--all", "learnloop/node-pool-")
    assert found is not None


def test_no_more_jobs_of_one_person_than_are_allowed(cluster, db, monkeypatch) -> None:
    monkeypatch.setenv("LEARNLOOP_JOBS_PER_USER", "1")
    settings.cache_clear()
    first = Task(spec(params={"seconds": 3}))
    second = Task(spec(seed=2), task_id="other")
    assert first.begin() is None
    one = first.in_background()
    eventually(cluster.pods)
    assert second.begin() is None
    two = second.in_background()
    assert first.end(one.join()) is not None
    found = second.end(two.join())
    assert found is not None
    assert found["result"]["seed"] == 2


def test_a_job_over_its_timeout_is_killed(cluster) -> None:
    with pytest.raises(JobFailed, match="ran longer than its timeout of 8 s and was killed"):
        Task(spec(params={"seconds": 600}, timeout_seconds=8)).run()
    eventually(lambda: cluster.pods() == [])


def test_a_task_over_its_execution_timeout_leaves_no_pod(cluster) -> None:
    """Also while its pod waits: that is no part of the job's own timeout."""
    task = Task(spec(node_pool="none"), execution_timeout=timedelta(seconds=5))
    with pytest.raises(JobFailed, match="the task's execution_timeout is over"):
        task.run()
    eventually(lambda: cluster.pods() == [])


def test_a_job_out_of_memory_gets_more_at_its_next_try_up_to_the_cap(cluster, monkeypatch, capfd) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("LEARNLOOP_JOB_MEMORY_CAP", "192Mi")
    settings.cache_clear()
    code = "x = bytearray(600 << 20); print(len(x))"
    task = Task(spec(code, outputs=[]))
    with pytest.raises(JobKilled, match=r"ran out of memory(.|\n)*it had 128Mi: the next try asks for 192Mi"):
        task.run()
    assert task.begin() is None
    event = task.wait()
    limits = cluster.pods()[0]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["memory"] == "192Mi"
    assert "an earlier try ran out of memory: this one asks for 192Mi" in capfd.readouterr().out
    with pytest.raises(AirflowFailException, match="it had 192Mi, and no try may have more"):
        task.end(event)
    assert cluster.pods() == []


def test_a_job_that_nears_its_limit_is_warned_of(cluster, db) -> None:
    """Also when it tells of progress on and on; and the person whose run it is, once."""
    code = "import time; from learnloop.jobs.contract import Job; j = Job.current(); x = bytearray(230 << 20)\n"
    code += "for n in range(3000): j.progress(step=n); time.sleep(0.2)"
    task = Task(spec(code, outputs=[], resources={"cpu": 0.1, "memory": "256Mi"}))
    assert task.begin() is None
    waiting = task.in_background()

    def line() -> dict:
        db.rollback()
        return db.scalar(select(JobProgress.line)) or {}

    eventually(lambda: "of the 256Mi of memory it may have" in line().get("warning", ""), 60)
    step = line().get("step", 0)
    eventually(lambda: line().get("step", 0) > step + 20, 60)
    assert "of the 256Mi of memory it may have" in line()["warning"]
    told = db.scalars(select(Event).where(Event.kind == "warning")).one()
    assert (told.owner, told.run_id) == ("ann", "round-digits-7")
    assert "incremental_training round-digits-7: train: the job uses 2" in told.text
    waiting.kill()


def test_a_pod_that_kubernetes_does_not_take_fails_with_what_it_says(cluster) -> None:
    with pytest.raises(JobFailed, match=r"does not take the job\'s pod: .*no PriorityClass with name learnloop-high"):
        Task(spec(priority=5)).run()


def test_gpus_pools_priorities_and_tolerations(cluster) -> None:
    """A job for a tainted pool with GPUs is let onto it; here it then waits, for there is no such node."""
    task = Task(spec(node_pool="gpu", resources={"cpu": 2, "memory": "1Gi", "gpu": 1}))
    assert task.begin() is None
    waiting = task.in_background()
    eventually(cluster.pods)
    pod = cluster.pods()[0]["spec"]
    waiting.kill()
    assert pod["nodeSelector"] == {"learnloop/node-pool": "gpu"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    tolerated = {toleration["key"] for toleration in pod["tolerations"]}
    assert {"learnloop/node-pool", "nvidia.com/gpu"} <= tolerated


def test_dollars_are_no_references(cluster) -> None:
    code = "import os, sys; from learnloop.jobs.contract import Job; j = Job.current(); "
    code += "j.finish({'seen': [os.environ['WORTH'], sys.argv[1], j.params['p']]})"
    fields = spec(outputs=[], env={"WORTH": "$(HOME) $$ $5"}, params={"p": "$(HOME)"})
    fields["command"] = ["python", "-c", code, "$(HOME)$$"]
    assert Task(fields).run()["result"]["seen"] == ["$(HOME) $$ $5", "$(HOME)$$", "$(HOME)"]
