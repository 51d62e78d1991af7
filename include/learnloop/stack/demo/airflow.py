"""What the demo needs of Airflow's REST API: start a run, wait for it, say what failed."""

from __future__ import annotations

import time
from typing import Any

import httpx

from learnloop.errors import LearnloopError, Unavailable

POLL_SECONDS = 0.2


class RunFailed(LearnloopError):
    type = "run-failed"


class AirflowClient:
    """Acts as the user whose token it bears."""

    def __init__(self, base_url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=f"{base_url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> None:
        """Wait until Airflow has parsed the DAG file: right after the first start it may not have."""
        deadline = time.monotonic() + seconds
        while self._http.get(f"/dags/{dag_id}").status_code != 200:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Airflow does not know the DAG {dag_id} after {seconds:.0f} s; import errors: {self.import_errors()}"
                )
            time.sleep(POLL_SECONDS)

    def import_errors(self) -> Any:
        return self._http.get("/importErrors").json().get("import_errors")

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        answer = self._http.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
        if answer.status_code >= 400:
            raise RunFailed(f"Airflow did not start {dag_id}: {answer.text}")
        return str(answer.json()["dag_run_id"])

    def wait(self, dag_id: str, run_id: str, seconds: float = 300) -> None:
        """Wait for the run's end.

        Raises:
            RunFailed: it failed (the message names the tasks), or did not end in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            answer = self._http.get(f"/dags/{dag_id}/dagRuns/{run_id}")
            state = answer.json().get("state") if answer.status_code == 200 else "not there yet"
            if state == "success":
                return
            if state == "failed":
                raise RunFailed(f"{dag_id} run {run_id} failed at: {', '.join(self.tasks(dag_id, run_id, 'failed'))}")
            if time.monotonic() > deadline:
                running = self.tasks(dag_id, run_id, "running") if answer.status_code == 200 else []
                raise RunFailed(f"{dag_id} run {run_id} is {state} after {seconds:.0f} s; running: {running}")
            time.sleep(POLL_SECONDS)

    def run(self, dag_id: str, conf: dict[str, Any]) -> str:
        run_id = self.trigger(dag_id, conf)
        self.wait(dag_id, run_id)
        return run_id

    def tasks(self, dag_id: str, run_id: str, state: str) -> list[str]:
        answer = self._http.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"state": state})
        return [task["task_id"] for task in answer.json().get("task_instances", [])]

    def seconds_of(self, dag_id: str, run_id: str, task_id: str) -> float:
        """How long one task of a run took."""
        answer = self._http.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        answer.raise_for_status()
        return float(answer.json()["duration"] or 0)
