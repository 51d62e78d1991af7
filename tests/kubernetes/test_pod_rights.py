"""Whose paths a job can reach, and how few rights those need who make its pod."""

from pathlib import Path

import pytest
from job_sources import spec
from job_tasks import Task
from mount_contract import Run, write_table

from learnloop.errors import InvalidInput, JobFailed
from learnloop.settings import settings
from learnloop_airflow.mounts.home import home
from learnloop_airflow.mounts.orphans import sweep

RBAC = Path(__file__).parents[2] / "deploy" / "kubernetes" / "rbac.yaml"


def test_the_rights_we_ship_are_enough(cluster, monkeypatch, capfd) -> None:
    """As a service account that has them and nothing else."""
    cluster.kubectl("apply", "-f", str(RBAC))
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", cluster.connection_of_service_account())
    assert Task(spec(params={"seconds": 3})).run()["result"]["resumed"] is False
    assert "its use of memory is not watched" in capfd.readouterr().out  # without a metrics server
    assert cluster.pods() == []
    write_table(cluster.home / "storage-classes.yaml", "ssd", "local-ssd", "")
    monkeypatch.setenv("LEARNLOOP_STORAGE_CLASSES", str(cluster.home / "storage-classes.yaml"))
    settings.cache_clear()
    mounted = Run(1, "python")
    mounted.prepare()
    assert mounted.list() == []
    assert len(mounted.remove()) == 1
    assert sweep(home(), lambda *_: False).unknown == []

    cluster.kubectl("delete", "rolebinding", "learnloop-jobs")
    with pytest.raises(JobFailed, match=r"403: pods .* is forbidden"):
        Task(spec(seed=2)).run()


def test_nobody_reaches_what_is_another_persons(cluster) -> None:
    """Not as an input, and not by links that a job leaves in the place of one."""
    secret = cluster.home / "namespaces" / "models" / "bob" / "k" / "model"
    secret.mkdir(parents=True)
    (secret / "weights").write_text("bob's")
    with pytest.raises(InvalidInput, match="cannot be staged for a pod of ann"):
        Task(spec(inputs={"parent": {"kind": "url", "source": secret.as_uri()}})).run()

    code = """
import os
from learnloop.jobs.contract import Job
job = Job.current()
(job.places.models / "model").symlink_to("../../bob/k/model")
(job.places.results / "job.log").symlink_to("../../../../stolen")
(job.places.results / "memory.json").symlink_to("../../../../stolen")
(job.places.results / "progress.jsonl").symlink_to("../../../../read")
job.finish({})
"""
    (cluster.home / "read").write_text('{"epoch": "of another"}\n')
    left = Task(spec(code, outputs=[])).run()
    assert not (cluster.home / "stolen").exists()
    taken = Path(left["models_dir"]) / "model"
    job = spec(inputs={"parent": {"kind": "url", "source": taken.as_uri()}})
    with pytest.raises(JobFailed, match=r"inputs could not be staged(.|\n)*is not a folder that the stager can read"):
        Task(job).run()
