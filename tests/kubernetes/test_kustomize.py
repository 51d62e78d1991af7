"""The manifests of deploy/kustomize on a real cluster: applied as a company would, with an overlay of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from cluster_tools import ROOT, Cluster, build_image
from model_pods import Models
from sqlalchemy import make_url
from waits import eventually

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def annotation_image() -> str:
    """The page's image; KUBERNETES_ANNOTATION_IMAGE names one that is in the cluster already."""
    return os.environ.get("KUBERNETES_ANNOTATION_IMAGE") or build_image("annotation")


@pytest.fixture
def applied(models: Models, annotation_image: str) -> Iterator[Cluster]:
    """deploy/kustomize/base, with this cluster's storage class and images, and the tests' database by its socket."""
    cluster, database = models.cluster, make_url(models.database_url)
    folder = Path(str(database.query["host"]))
    to_socket = [
        {
            "op": "add",
            "path": "/spec/template/spec/volumes/-",
            "value": {"name": "pg", "hostPath": {"path": str(folder)}},
        },
        {
            "op": "add",
            "path": "/spec/template/spec/containers/0/volumeMounts/-",
            "value": {"name": "pg", "mountPath": "/pg"},
        },
        # Whose the folder of the database is.
        {"op": "replace", "path": "/spec/template/spec/securityContext/runAsUser", "value": folder.stat().st_uid},
    ]
    small = [
        {"op": "replace", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "20m"},
    ]
    overlay = cluster.home / "overlay"
    overlay.mkdir()
    named = {"annotation": annotation_image, "serving": models.template.container["image"]}
    images = [
        {"name": f"learnloop/{name}", "newName": image.rpartition(":")[0], "newTag": image.rpartition(":")[2]}
        for name, image in named.items()
    ]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": cluster.namespace,
        "resources": [os.path.relpath(ROOT / "deploy" / "kustomize" / "base", overlay.resolve())],
        "images": images,
        "patches": [
            {
                "target": {"kind": "PersistentVolumeClaim"},
                "patch": json.dumps([{"op": "add", "path": "/spec/storageClassName", "value": "shared-nfs"}]),
            },
            {"target": {"kind": "Deployment", "name": "learnloop-model-server"}, "patch": json.dumps(to_socket)},
            {"target": {"kind": "Deployment"}, "patch": json.dumps(small)},
        ],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    url = database.update_query_dict({"host": "/pg"}).render_as_string(hide_password=False)
    keys = [f"--from-literal={name}={url}" for name in ("learnloop", "mlflow")]
    cluster.kubectl("create", "secret", "generic", "learnloop-databases", *keys)
    cluster.kubectl("apply", "-k", str(overlay))
    yield cluster
    cluster.kubectl("delete", "-k", str(overlay), "--ignore-not-found", "--wait=false")


def ready(cluster: Cluster, name: str) -> bool:
    found = cluster.kubectl("get", "deployment", name, "-o", "jsonpath={.status.availableReplicas}")
    return found == "1"


def test_the_page_and_the_model_servers_answer_behind_their_services(applied: Cluster) -> None:
    for name, port, path in (
        ("learnloop-annotation", 8501, "/annotate/_stcore/health"),
        ("learnloop-model-server", 8090, "/v2/health/ready"),
    ):
        eventually(lambda name=name: ready(applied, name), 120)
        address = applied.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
        url = f"http://{address}:{port}"
        eventually(lambda url=url, path=path: answers(url + path))
        if port == 8501:
            assert "<title>Streamlit</title>" in httpx.get(f"{url}/annotate/", timeout=10).text
    claims = json.loads(applied.kubectl("get", "pvc", "-o", "json"))["items"]
    assert {one["metadata"]["name"] for one in claims} == {
        f"learnloop-{name}" for name in ("models", "namespaces", "store")
    }
    templates = json.loads(applied.kubectl("get", "configmap", "learnloop-templates", "-o", "json"))["data"]
    assert set(templates) == {"pod-template.yaml", "serving-template.yaml", "storage-classes.yaml"}
    who = f"system:serviceaccount:{applied.namespace}:learnloop"
    for account, verb, what, may in (
        ("-airflow", "create", "pods", "yes"),
        ("-airflow", "patch", "deployments.apps", "yes"),
        ("-airflow", "get", "secrets", "no"),
        ("", "list", "pods", "no"),
    ):
        said = applied.kubectl("auth", "can-i", verb, what, f"--as={who}{account}", check=False).strip()
        assert said == may, (account, verb, what)


def test_the_overlay_we_show_renders_and_its_ingress_is_taken(models: Models) -> None:
    production = ROOT / "deploy" / "kustomize" / "production"
    found = list(yaml.safe_load_all(models.cluster.kubectl("kustomize", str(production))))
    places = {one["metadata"].get("namespace") for one in found if one["kind"] not in ("Namespace", "PriorityClass")}
    assert places == {"learnloop"}
    containers = [
        container
        for one in found
        if one["kind"] == "Deployment"
        for container in one["spec"]["template"]["spec"]["containers"]
    ]
    assert all(container["image"].startswith("registry.example.com/") for container in containers)
    assert {one["spec"]["storageClassName"] for one in found if one["kind"] == "PersistentVolumeClaim"} == {"cephfs"}
    models.cluster.kubectl("apply", "--dry-run=server", "-f", str(production / "ingress.yaml"))


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
