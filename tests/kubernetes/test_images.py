"""Each image of deploy/images, built from this working tree: small, locked down, and of use as what it is for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cluster_tools import ROOT, Cluster, build_image
from waits import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

MOST_MIB = {"training": 780, "serving": 830, "annotation": 690, "airflow": 1710}
"""As the node tells, unpacked, with the stand-in for python:3.11-slim in it (190): a tenth more than what was measured."""
# What each image is for; ``found`` is what it says of itself.
TRIES = {
    "training": "import learnloop.training.train, learnloop.jobs.stager, skops; found = None",
    "serving": "import learnloop.serving.pinned, learnloop.serving.server, skops; found = None",
    "annotation": "import streamlit, learnloop.client, annotation_app; found = None",
    "airflow": """
import subprocess, sys
from pathlib import Path
version = subprocess.run(["airflow", "version"], check=True, capture_output=True, text=True).stdout.split()[-1]
subprocess.run([sys.executable, "-c", "import learnloop.jobs.contract, learnloop.training.train"], check=True, env={})
import learnloop_airflow.api.app, learnloop_airflow.views.app
from learnloop_plugin import LearnloopPlugin
from airflow.dag_processing.dagbag import BundleDagBag
folder = Path("/opt/learnloop/dags")
bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
files = {Path(dag.fileloc).stem for dag in bag.dags.values()}
found = {"version": version, "plugin": LearnloopPlugin.name, "errors": bag.import_errors, "files": sorted(files)}
""",
}
NEVER = {
    "training": ["airflow", "sqlalchemy", "psycopg"],
    "serving": ["airflow", "mlflow"],
    "annotation": ["airflow", "sqlalchemy", "sklearn"],
    "airflow": ["torch"],
}
"""What an image must not have in it."""


def mib_of(cluster: Cluster, image: str) -> float:
    """What the image takes on the node; 0 while it has not told of it."""
    images = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"][0]["status"]["images"]
    return next((one["sizeBytes"] / (1 << 20) for one in images if image in (one["names"] or ())), 0.0)


def pod(image: str, code: str, *, writable: bool) -> dict[str, Any]:
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": not writable,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "tried",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", code],
        "securityContext": security,
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": spec}


@pytest.mark.parametrize("name", MOST_MIB)
def test_an_image_is_small_and_does_what_it_is_for_as_nobody(cluster: Cluster, name: str) -> None:
    image = build_image(name)
    code = f"""{TRIES[name]}
import importlib.util, json, os
there = [one for one in {NEVER[name]!r} if importlib.util.find_spec(one)]
print(json.dumps({{"uid": os.getuid(), "there": there, "found": found}}))
"""
    cluster.apply(pod(image, code, writable=name == "airflow"))  # Airflow writes its configuration into its home

    def phase() -> str:
        return str(cluster.pods()[0]["status"]["phase"])

    eventually(lambda: phase() in ("Succeeded", "Failed"), 300)
    lines = cluster.kubectl("logs", "tried").splitlines()
    assert phase() == "Succeeded", lines[-20:]
    said = json.loads(lines[-1])
    assert said["uid"] > 0
    assert said["there"] == []
    if name == "airflow":
        assert said["found"]["version"].startswith("3.")
        assert said["found"]["plugin"] == "learnloop"
        assert said["found"]["errors"] == {}
        assert {file.stem for file in (ROOT / "dags").glob("*.py")} <= set(said["found"]["files"])
    eventually(lambda: mib_of(cluster, image) > 0, 120)
    assert mib_of(cluster, image) <= MOST_MIB[name]
