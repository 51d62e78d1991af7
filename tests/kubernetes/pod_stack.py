"""A whole stack of its own whose jobs are pods: Airflow, our API, PostgreSQL; and what tests do to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from cluster_tools import ROOT, Cluster, pod_template
from waits import eventually

from learnloop.client import LearnloopClient
from learnloop.stack.__main__ import running_environment
from learnloop.stack.demo import digits
from learnloop.stack.demo.airflow import AirflowClient
from learnloop.stack.places import Places

GATE = "learnloop-test/gate"
TRAINING = "base_model_training"


@dataclass(frozen=True)
class Person:
    """Somebody who works with the stack: by our API, and by Airflow's."""

    name: str
    loop: LearnloopClient
    airflow: AirflowClient


@dataclass(frozen=True)
class PodStack:
    cluster: Cluster
    url: str
    token: str
    airflow: AirflowClient
    data: Path
    """Where datasets come from: not below the stack's own folder, which nobody may read from."""
    people: dict[str, Person] = field(default_factory=dict)

    @contextmanager
    def open_gate(self) -> Iterator[None]:
        self.cluster.kubectl("label", "node", "--all", f"{GATE}={self.cluster.namespace}")
        try:
            yield
        finally:
            self.cluster.kubectl("label", "node", "--all", f"{GATE}-")

    def start(self) -> str:
        """A run of base_model_training on a dataset of its own, up to where its first pod waits to be scheduled."""
        name = f"digits-{uuid.uuid4().hex[:6]}"
        folder = digits.write(self.data / name, name, budget=20).dataset
        run_id = self.airflow.trigger(TRAINING, {"path": str(folder), "message": "pods"})
        eventually(lambda: self.pods_of(run_id) or self.run_state(run_id) == "failed", 120)
        assert self.state_of(run_id) == "deferred"
        return run_id

    def pods_of(self, run_id: str) -> list[dict]:
        named = (json.loads(pod["metadata"]["annotations"]["learnloop/task"]) for pod in self.cluster.pods())
        return [task for task in named if task["run_id"] == run_id]

    def state_of(self, run_id: str, task_id: str = "train", dag_id: str = TRAINING) -> str | None:
        return self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}").json()["state"]

    def run_state(self, run_id: str, dag_id: str = TRAINING) -> str:
        return self.get(f"/dags/{dag_id}/dagRuns/{run_id}").json()["state"]

    def log_of(self, run_id: str, task_id: str = "train", dag_id: str = TRAINING, map_index: int = -1) -> str:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/1"
        return self.get(f"{path}?map_index={map_index}").text

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(path).raise_for_status().json()["value"]

    def mark_failed(self, run_id: str) -> None:
        path = f"{self.url}/api/v2/dags/base_model_training/dagRuns/{run_id}/taskInstances/train"
        httpx.patch(path, json={"new_state": "failed"}, headers=self.bearing, timeout=30).raise_for_status()

    def clear(self, run_id: str) -> None:
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["train"], "only_failed": False}
        path = f"{self.url}/api/v2/dags/base_model_training/clearTaskInstances"
        httpx.post(path, json=body, headers=self.bearing, timeout=30).raise_for_status()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}/api/v2{path}", headers=self.bearing, timeout=30)

    @property
    def bearing(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def component(self, name: str) -> int:
        return int(json.loads((self.cluster.home / "status.json").read_text())["components"][name]["pid"])

    def kill(self, name: str) -> None:
        """The component and all its processes, as a machine's end would; the supervisor starts it again."""
        process = psutil.Process(self.component(name))
        for one in [process, *process.children(recursive=True)]:
            os.kill(one.pid, signal.SIGKILL)


@contextmanager
def running_stack(
    image: str,
    data: Path,
    *,
    selector: dict[str, str] | None = None,
    people: Sequence[str] = (),
    few_rights: bool = False,
    told: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[PodStack]:
    """A stack in a new namespace, all of it gone afterwards.

    Args:
        selector: the template's node selector; ``GATE`` there holds every pod back.
        people: scientists that there are beside the admin.
        few_rights: on the cluster, Airflow has what deploy/kubernetes/rbac.yaml gives, and nothing else.
        told: further variables for `make up` to hand on, by their whole names.
        settings: further settings of Learnloop's, in capitals.
    """
    namespace = f"learnloop-{uuid.uuid4().hex[:8]}"
    home = Path(tempfile.mkdtemp(prefix="learnloop-pods-", dir="/tmp"))
    cluster = Cluster(namespace, home, os.environ["KUBECONFIG"])
    template = pod_template(home, namespace)
    template["spec"]["nodeSelector"] = {name: value or namespace for name, value in (selector or {}).items()}
    (home / "pod-template.yaml").write_text(yaml.safe_dump(template))
    for folder in ("namespaces", "store", "models"):
        (home / folder).mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("LEARNLOOP_", "AIRFLOW"))},
        "LEARNLOOP_HOME": str(home),
        "LEARNLOOP_JOB_RUNNER": "kubernetes",
        "LEARNLOOP_JOB_IMAGE": image,
        "LEARNLOOP_POD_TEMPLATE": str(home / "pod-template.yaml"),
        **{f"LEARNLOOP_{name}": value for name, value in settings.items()},
        **(told or {}),
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "learnloop.stack", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    cluster.kubectl("create", "namespace", namespace)
    try:
        if few_rights:
            cluster.kubectl("apply", "-f", str(ROOT / "deploy" / "kubernetes" / "rbac.yaml"))
            connection = json.loads(cluster.connection_of_service_account())
            environment["KUBECONFIG"] = connection["extra"]["kube_config_path"]  # the stack takes no AIRFLOW_CONN_*
        words = dict(line.split() for line in run("up").splitlines() if line.startswith("    "))
        url = json.loads((home / "stack.json").read_text())["api_url"]
        with ExitStack() as clients:
            every = {
                name: clients.enter_context(_person(url, name, word))
                for name, word in {"admin": words["admin"], **_scientists(home, people)}.items()
            }
            admin = every["admin"]
            admin.airflow.wait_for_dag(TRAINING)
            yield PodStack(cluster, url, admin.loop.token or "", admin.airflow, data, every)
    finally:
        run("down")
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _person(url: str, name: str, password: str) -> Iterator[Person]:
    with LearnloopClient.login(url, name, password) as loop:
        yield Person(name, loop, AirflowClient(url, loop.token or ""))


def _scientists(home: Path, names: Sequence[str]) -> dict[str, str]:
    """Makes them in the running stack; their passwords."""
    if not names:
        return {}
    made = subprocess.run(
        [sys.executable, "-m", "learnloop_airflow.roles"],
        input=json.dumps([{"name": name, "role": "scientist"} for name in names]),
        env=running_environment(Places(home)),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert made.returncode == 0, made.stderr[-4000:]
    return json.loads(made.stdout)
