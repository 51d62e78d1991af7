"""What a job's pod survives: eviction, deletion, an API server that is away, a worker or triggerer that dies."""

import json
from pathlib import Path

import pytest
from job_sources import spec
from job_tasks import Task
from proxy import ApiProxy
from waits import eventually

from learnloop.errors import JobFailed

LONG = {"seconds": 600}  # until it is disrupted: the next attempt finds the checkpoint, and ends at once


def runs_of(cluster) -> list[dict]:
    return [pod for pod in cluster.pods() if pod["status"]["phase"] == "Running"]


def has_checkpoint(cluster) -> bool:
    return any((cluster.home / "namespaces" / "results").glob("*/*/checkpoint/epoch"))


def evict(cluster, name: str) -> None:
    """As a node's drain asks for it: the pod has its grace period."""
    eviction = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{name}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def delete(cluster, name: str) -> None:
    cluster.kubectl("delete", "pod", name, "--wait=false")


def delete_at_once(cluster, name: str) -> None:
    """Without a grace period: whoever looks next finds no pod, and has never seen it being removed."""
    cluster.kubectl("delete", "pod", name, "--wait=false", "--grace-period=0", "--force")


@pytest.mark.parametrize("disrupt", [evict, delete, delete_at_once])
def test_a_pod_that_is_deleted_or_evicted_is_made_again_from_its_checkpoint(cluster, capfd, disrupt) -> None:
    task = Task(spec(params=LONG))
    assert task.begin() is None
    waiting = task.in_background()
    eventually(lambda: has_checkpoint(cluster))
    first = cluster.pods()[0]["metadata"]
    disrupt(cluster, first["name"])
    found = task.end(waiting.join())
    assert found is not None
    assert found["result"]["resumed"] is True
    assert "made again, from its checkpoint" in capfd.readouterr().out
    assert cluster.pods() == []


def test_a_pod_that_the_kubelet_evicts_is_made_again(cluster, capfd) -> None:
    """The first attempt writes more than the namespace's default for ephemeral storage: a real eviction."""
    limits = [{"type": "Container", "default": {"ephemeral-storage": "1Mi"}}]
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "storage"},
            "spec": {"limits": limits},
        }
    )
    code = """
import os, time
from learnloop.jobs.contract import Job
job = Job.current()
mark = job.checkpoint_dir / "mark"
if not mark.exists():
    mark.write_text("1")
    (job.places.cache / "large").write_bytes(b"x" * (64 << 20))
    time.sleep(600)
job.finish({"again": True})
"""
    task = Task(spec(code, outputs=[], timeout_seconds=300))
    assert task.begin() is None
    found = task.end(task.wait(110))
    assert found is not None
    assert found["result"] == {"again": True}
    assert "through no fault of the job (Evicted" in capfd.readouterr().out
    assert cluster.pods() == []


def test_an_api_server_that_is_away_is_waited_for(cluster, monkeypatch, capfd) -> None:
    """Away while the pod runs, and again when the worker wants to judge it."""
    with ApiProxy(cluster.kubeconfig, cluster.home / "by-proxy.conf") as proxy:
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(proxy.kubeconfig)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        task = Task(spec(params={"seconds": 3}))
        assert task.begin() is None
        waiting = task.in_background()
        eventually(lambda: runs_of(cluster))
        proxy.stop()
        eventually(lambda: "does not answer" in capfd.readouterr().out)
        assert waiting.event is None
        proxy.start()
        event = waiting.join()
        assert event["status"] == "ended"
        proxy.stop()
        assert task.end(event) is None  # waits again
        proxy.start()
        found = task.end(task.wait())
    assert found is not None
    assert found["result"]["resumed"] is False
    assert cluster.pods() == []


def test_a_triggerer_that_dies_is_followed_by_another(cluster) -> None:
    task = Task(spec(params={"seconds": 4}))
    assert task.begin() is None
    first = task.in_background()
    eventually(lambda: runs_of(cluster))
    first.vanish()
    uid = cluster.pods()[0]["metadata"]["uid"]
    event = task.wait()
    assert cluster.pods()[0]["metadata"]["uid"] == uid
    found = task.end(event)
    assert found is not None
    assert found["result"]["resumed"] is False


def test_a_triggerer_that_dies_with_the_pod_gone_meanwhile(cluster) -> None:
    task = Task(spec(params=LONG))
    assert task.begin() is None
    first = task.in_background()
    eventually(lambda: has_checkpoint(cluster))
    first.vanish()
    cluster.kubectl("delete", "pod", "--all", "--wait")
    found = task.end(task.wait())
    assert found is not None
    assert found["result"]["resumed"] is True


def test_a_task_that_is_marked_or_cleared_leaves_no_pod(cluster) -> None:
    task = Task(spec(params=LONG))
    assert task.begin() is None
    waiting = task.in_background()
    eventually(lambda: runs_of(cluster))
    waiting.kill()
    eventually(lambda: cluster.pods() == [])


def test_two_tasks_with_one_job_train_once(cluster) -> None:
    """The second waits for the first one's pod, and takes its result; ended by hand, it does the first no harm."""
    first, second, third = (Task(spec(params={"seconds": 5}), task_id=name) for name in ("first", "second", "third"))
    assert first.begin() is None
    one = first.in_background()
    eventually(lambda: runs_of(cluster))
    assert second.begin() is None
    assert third.begin() is None
    two, three = second.in_background(), third.in_background()
    three.kill()
    assert len(cluster.pods()) == 1
    found = first.end(one.join())
    also = second.end(two.join())
    assert found == also
    assert found is not None
    assert len(Path(found["results_dir"], "progress.jsonl").read_text().splitlines()) == 1
    assert cluster.pods() == []


def test_a_marker_counts_only_with_a_clean_end_also_when_the_worker_died(cluster) -> None:
    task = Task(spec(params={"exit": 4}))
    assert task.begin() is None
    task.wait()  # ended with code 4 after result.json, and nobody judged it
    assert task.begin() is None
    event = task.wait()
    with pytest.raises(JobFailed, match="ended with exit code 4"):
        task.end(event)
    assert cluster.pods() == []
