"""Mounts of runs in a real Airflow on a real cluster: gone after an end by itself, by a failure, and by a person's hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from airflow_runs import Airflow, airflow_with
from cluster_tools import Cluster
from mount_contract import Run, write_table
from waits import eventually

from learnloop.settings import settings

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

DAGS = """
from airflow.sdk import DAG
from learnloop_airflow.operators.job import JobOperator
from learnloop_airflow.operators.maintenance import RemoveOrphanedMountsOperator
from learnloop_airflow.operators.mounts import MountsOperator, RemoveMountsOperator

NEEDS = [
    {"name": "scratch", "path": "/mnt/scratch", "size": "8Mi"},
    {"name": "kept", "path": "/mnt/kept", "size": "8Mi", "lifetime": "user"},
]
with DAG("mounted", schedule=None, params={"code": ""}):
    mounts = MountsOperator(task_id="mounts", mounts=NEEDS)
    job = {
        "command": ["python", "-c", "{{ params.code }}"],
        "resources": {"cpu": 0.1, "memory": "128Mi"},
        "idempotency_key": "{{ run_id }}",
    }
    work = JobOperator(task_id="work", spec=job, mounts=mounts.output)
    work >> RemoveMountsOperator(task_id="remove_mounts", mounts=mounts.output).as_teardown(setups=mounts)
with DAG("sweep", schedule=None):
    RemoveOrphanedMountsOperator(task_id="remove_orphaned_mounts")
"""
SOURCE = "import os, sys, time; from learnloop.jobs.contract import Job; "
WRITES = SOURCE + "open(os.environ['MOUNT_SCRATCH'] + '/x', 'w').write('x'); Job.current().finish({})"
FAILS = SOURCE + "open(os.environ['MOUNT_KEPT'] + '/x', 'w').write('x'); sys.exit(3)"
WAITS = SOURCE + "time.sleep(600)"


@dataclass(frozen=True)
class Mounted(Airflow):
    cluster: Cluster

    def run(self, dag_id: str, **conf: Any) -> tuple[str, str]:
        run_id = self.start(dag_id, **conf)
        return run_id, self.wait(dag_id, run_id)

    def claims(self) -> dict[str, str]:
        """The lifetime of each claim that is not being removed, by its name."""
        found = json.loads(self.cluster.kubectl("get", "pvc", "-o", "json"))["items"]
        there = [one["metadata"] for one in found if "deletionTimestamp" not in one["metadata"]]
        return {one["name"]: one["labels"]["learnloop/lifetime"] for one in there}

    def lifetimes(self) -> list[str]:
        return sorted(self.claims().values())


@pytest.fixture
def airflow(cluster: Cluster, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mounted]:
    table = cluster.home / "storage-classes.yaml"
    write_table(table, "nfs", "shared-nfs", "")
    ours = {
        "job_runner": "kubernetes",
        "job_image": settings().job_image,
        "pod_template": settings().pod_template,
        "namespaces": str(settings().namespaces),
        "storage_classes": str(table),
    }
    monkeypatch.setenv("LEARNLOOP_STORAGE_CLASSES", str(table))
    settings.cache_clear()
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": cluster.kubeconfig}}
    with airflow_with(DAGS, "sweep", postgres, json.dumps(connection), **ours) as running:
        yield Mounted(running.http, cluster)


def test_mounts_of_a_run_are_gone_however_it_ends(airflow: Mounted) -> None:
    run_id, state = airflow.run("mounted", code=WRITES)
    assert state == "success", airflow.tasks("mounted", run_id)
    eventually(lambda: airflow.lifetimes() == ["user"])
    (kept,) = airflow.claims()

    run_id, state = airflow.run("mounted", code=FAILS)
    assert airflow.tasks("mounted", run_id) == {"mounts": "success", "work": "failed", "remove_mounts": "success"}
    assert state == "failed"
    eventually(lambda: list(airflow.claims()) == [kept])

    run_id = airflow.start("mounted", code=WAITS)
    eventually(lambda: [pod["status"]["phase"] for pod in airflow.cluster.pods()] == ["Running"], 200)
    eventually(lambda: airflow.tasks("mounted", run_id)["work"] == "deferred")
    orphan = Run(1, "python", dag_id="mounted")
    orphan.prepare()
    assert airflow.lifetimes() == ["run", "run", "user"]
    assert airflow.run("sweep")[1] == "success"
    eventually(lambda: orphan.made[0]["place"] not in airflow.claims())
    assert airflow.lifetimes() == ["run", "user"]  # of the run that goes on

    airflow.http.patch(f"/dags/mounted/dagRuns/{run_id}", json={"state": "failed"}).raise_for_status()
    eventually(lambda: list(airflow.claims()) == [kept] and airflow.cluster.pods() == [], 120)
