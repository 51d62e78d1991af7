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
from cluster_tools import ROOT, Cluster, build_image, pod_template
from model_pods import (
    ALSO_GOOD,
    DAMAGED,
    ERRING,
    GOOD,
    SLOW,
    Models,
    dataset,
    serving_template,
    write_versions,
)
from sqlalchemy import create_engine, make_url, text

from learnloop.database import session
from learnloop.database.engine import engine
from learnloop.models import registry
from learnloop.settings import settings

HERE = Path(__file__).parent
RBAC = ROOT / "deploy" / "kubernetes" / "rbac-serving.yaml"


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
def deployed(models: Models, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    """The versions registered, and operators with the rights that we ship, and no others."""
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    home, cluster = models.cluster.home, models.cluster
    template = serving_template(home / "registered", cluster.namespace, models.template.container["image"])
    (home / "serving-template.yaml").write_text(yaml.safe_dump(template))
    cluster.kubectl("apply", "-f", str(RBAC))
    for setting, value in {
        "LEARNLOOP_HOME": str(home),
        "LEARNLOOP_DATABASE_URL": models.database_url,
        "LEARNLOOP_MLFLOW_URL": url,
        "LEARNLOOP_MODELS": str(home / "registered"),
        "LEARNLOOP_SERVING_RUNNER": "kubernetes",
        "LEARNLOOP_SERVING_TEMPLATE": str(home / "serving-template.yaml"),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": cluster.connection_of_service_account(),
    }.items():
        monkeypatch.setenv(setting, value)
    settings.cache_clear()
    registry.prepare()
    for version in (GOOD, ALSO_GOOD, DAMAGED, ERRING, SLOW):
        made = registry.register(
            "digits",
            home / "models" / "digits" / str(version if version != DAMAGED else GOOD),
            models_root=home / "registered",
            tags={},
            metrics={},
            idempotency_key=str(version),
        )
        assert made == version
    damaged = registry.source_of("digits", DAMAGED) / "model.skops"  # by its disk, after its registration
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with session() as db:
        dataset(db)
    yield models
    settings.cache_clear()
    engine(url).dispose()
    with maintenance.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    maintenance.dispose()


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
