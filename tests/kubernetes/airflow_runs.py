"""A real Airflow on a real cluster, with DAGs of a test: triggered, watched, marked and cleared by its API."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from airflow_server import BIN, airflow_server
from waits import eventually


@dataclass(frozen=True)
class Airflow:
    http: httpx.Client

    def start(self, dag_id: str, **conf: Any) -> str:
        path = f"/dags/{dag_id}/dagRuns"
        return self.http.post(path, json={"logical_date": None, "conf": conf}).raise_for_status().json()["dag_run_id"]

    def state(self, dag_id: str, run_id: str) -> str:
        return self.http.get(f"/dags/{dag_id}/dagRuns/{run_id}").json()["state"]

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str]:
        found = self.http.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances").json()["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def wait(self, dag_id: str, run_id: str) -> str:
        eventually(lambda: self.state(dag_id, run_id) in ("success", "failed"), 900)
        return self.state(dag_id, run_id)

    def log(self, dag_id: str, run_id: str, task_id: str, number: int = 1) -> str:
        return self.http.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{number}").text

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.http.patch(path, json={"new_state": "failed"}).raise_for_status()

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        self.http.post(f"/dags/{dag_id}/clearTaskInstances", json=body).raise_for_status()


@contextmanager
def airflow_with(dags: str, last: str, postgres: str, connection: str, **settings: str) -> Iterator[Airflow]:
    """Started with the DAGs of a file, of which ``last`` is one, and ended.

    Args:
        connection: ``kubernetes_default``, as JSON.
        settings: Learnloop's.
    """
    with airflow_server("simple", postgres, apps="all", **settings) as server:
        (server.home / "dags").mkdir()
        (server.home / "dags" / "tests.py").write_text(dags)
        environment = {**server.environment, "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection}
        running = []
        for part in ("scheduler", "dag-processor", "triggerer"):
            with (server.home / f"{part}.log").open("w") as log:
                running.append(subprocess.Popen([BIN / "airflow", part], env=environment, stdout=log, stderr=log))
        bearing = {"Authorization": f"Bearer {server.token('ada')}"}
        with httpx.Client(base_url=f"{server.url}/api/v2", headers=bearing, timeout=60) as http:
            try:
                eventually(lambda: http.get(f"/dags/{last}").status_code == 200, 400)
                yield Airflow(http)
            finally:
                for process in running:
                    process.terminate()
                for process in running:
                    process.wait(120)
