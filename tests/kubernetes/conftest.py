"""Fixtures for tests on a real cluster, the one that KUBECONFIG names: a namespace for each test, and our image in it.

They run when KUBERNETES_TESTS is set, as `make test-kubernetes` does, and not by mistake against whatever cluster
a person's KUBECONFIG happens to name. Pods and the tests share folders by hostPath, so the node must be this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import model_pods
import pytest
import yaml
from cluster_tools import Cluster, build_image, pod_template
from model_pods import Models, write_versions

from learnloop.database.engine import engine
from learnloop.settings import settings

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.kubernetes)
        if not os.environ.get("KUBERNETES_TESTS"):
            item.add_marker(pytest.mark.skip(reason="needs a cluster: make test-kubernetes"))
    if ours and os.environ.get("KUBERNETES_TESTS") and not os.environ.get("KUBECONFIG"):
        pytest.exit("make test-kubernetes needs KUBECONFIG: it names the cluster to test on", returncode=4)


@pytest.fixture(scope="session")
def image() -> str:
    """The training image as this working tree makes it; KUBERNETES_TEST_IMAGE names one that is in the cluster already."""
    return os.environ.get("KUBERNETES_TEST_IMAGE") or build_image("training")


@pytest.fixture(scope="session")
def serving_image() -> str:
    """The model server's image; KUBERNETES_SERVING_IMAGE names one that is in the cluster already."""
    return os.environ.get("KUBERNETES_SERVING_IMAGE") or build_image("serving")


@pytest.fixture
def models(serving_image: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    """A new namespace in which versions of digits may be served, two pods an alias; all of it is gone afterwards."""
    namespace = f"learnloop-{uuid.uuid4().hex[:8]}"
    home = Path(tempfile.mkdtemp(prefix="learnloop-models-", dir="/tmp"))
    cluster = Cluster(namespace, home, os.environ["KUBECONFIG"])
    write_versions(home / "models")
    cluster.kubectl("create", "namespace", namespace)
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": cluster.kubeconfig}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
    yield model_pods.of(cluster, database_url, serving_image)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    engine.cache_clear()
    shutil.rmtree(home)


@pytest.fixture
def cluster(image: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A new namespace, and settings that have jobs run in it; all of it is gone afterwards."""
    kubeconfig = os.environ["KUBECONFIG"]
    namespace = f"learnloop-{uuid.uuid4().hex[:8]}"
    home = Path(tempfile.mkdtemp(prefix="learnloop-pods-", dir="/tmp"))
    made = Cluster(namespace, home, kubeconfig)
    template = home / "pod-template.yaml"
    template.write_text(yaml.safe_dump(pod_template(home, namespace)))
    for folder in ("namespaces", "store", "models"):
        (home / folder).mkdir()
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": kubeconfig}}
    for name, value in {
        "LEARNLOOP_HOME": str(home),
        "LEARNLOOP_DATABASE_URL": database_url,
        "LEARNLOOP_JOB_RUNNER": "kubernetes",
        "LEARNLOOP_JOB_IMAGE": image,
        "LEARNLOOP_POD_TEMPLATE": str(template),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection),
    }.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    engine.cache_clear()
    made.kubectl("create", "namespace", namespace)
    yield made
    made.kubectl("delete", "namespace", namespace, "--wait=false")
    settings.cache_clear()
    engine.cache_clear()
    shutil.rmtree(home)
