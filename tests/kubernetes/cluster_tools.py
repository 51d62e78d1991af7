"""What tests need of a cluster: its script, a namespace of it, and a pod template for folders of this machine."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from waits import eventually

ROOT = Path(__file__).parents[2]
CLUSTER = Path(os.environ.get("KUBERNETES_CLUSTER") or ROOT.parent / "shared" / "kubernetes" / "cluster")


BASE = "docker.io/library/python:3.11-slim"
"""What the cluster's script calls its stand-in, in the place of the exact version that the Dockerfiles name."""


def build_image(name: str) -> str:
    """Build an image of deploy/images as this working tree makes it, into the cluster; returns its whole name."""
    subprocess.run([CLUSTER, "base-image"], check=True, capture_output=True, timeout=600)
    build = [CLUSTER, "build", ROOT / "deploy" / "images" / name / "Dockerfile", ROOT, f"learnloop/{name}:tests"]
    built = subprocess.run([*build, "--build-arg", f"BASE={BASE}"], capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stderr[-4000:]
    return built.stdout.strip().splitlines()[-1]


@dataclass(frozen=True)
class Cluster:
    """A namespace of a real cluster, and a Learnloop whose jobs run there. ``home`` is on the node too."""

    namespace: str
    home: Path
    kubeconfig: str

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", self.kubeconfig, "-n", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, manifest: dict[str, object]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def connection_of_service_account(self, name: str = "learnloop-airflow") -> str:
        """An Airflow connection that has the rights of a new service account, and no others."""
        self.kubectl("create", "serviceaccount", name)
        about = {"name": "token", "annotations": {"kubernetes.io/service-account.name": name}}
        self.apply(
            {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": about}
        )
        wanted = ("get", "secret", "token", "-o", "jsonpath={.data.token}")
        eventually(lambda: self.kubectl(*wanted))
        config = yaml.safe_load(Path(self.kubeconfig).read_text())
        config["users"][0]["user"] = {"token": base64.b64decode(self.kubectl(*wanted)).decode()}
        path = self.home / "few-rights.conf"
        path.write_text(yaml.safe_dump(config))
        return json.dumps({"conn_type": "kubernetes", "extra": {"kube_config_path": str(path)}})

    def pods(self) -> list[dict]:
        return json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]


def pod_template(home: Path, namespace: str) -> dict[str, object]:
    """As deploy/kubernetes/pod-template.yaml, with folders of this machine in the place of claims."""
    template = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "pod-template.yaml").read_text())
    template["metadata"]["namespace"] = namespace
    for volume in template["spec"]["volumes"]:
        del volume["persistentVolumeClaim"]
        volume["hostPath"] = {"path": str(home / volume["name"]), "type": "Directory"}
    return template
