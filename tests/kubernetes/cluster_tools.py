"""What tests need of a cluster: its script, a namespace of it, and a pod template for folders of this machine."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = Path(os.environ.get("KUBERNETES_CLUSTER") or ROOT.parent / "shared" / "kubernetes" / "cluster")


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
