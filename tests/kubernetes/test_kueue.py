"""Kueue by configuration, as far as a cluster without it can show.

Kueue itself cannot be installed here: it is downloaded, and needs scheduling gates (Kubernetes 1.27). How it answers is in
tests/unit/pods/test_kueue_answers.py.
"""

import json

import pytest
from job_sources import spec
from job_tasks import Task

from learnloop.errors import JobFailed
from learnloop.settings import settings


def test_a_cluster_without_kueue_is_said_to_have_none_and_gets_no_pod(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNLOOP_ADMISSION", "kueue")
    monkeypatch.setenv("LEARNLOOP_KUEUE_QUEUE", "training")
    settings.cache_clear()
    task = Task(spec())
    with pytest.raises(
        JobFailed, match=r"the cluster has no Kueue \(API group kueue.x-k8s.io\): install it, or choose"
    ):
        task.run()
    assert cluster.pods() == []
    assert task.trigger is not None
    assert task.trigger.manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
    assert task.trigger.manifest["spec"]["schedulingGates"] == [{"name": "kueue.x-k8s.io/admission"}]
    manifest = json.dumps(task.trigger.manifest)
    # The API server takes such a pod; 1.20 drops gates, which it does not know.
    cluster.kubectl("create", "--validate=false", "-f", "-", stdin=manifest)
    assert len(cluster.pods()) == 1
