"""What tests of served models need: registered versions on the node, rows that say what is served, and who asks."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import skops.io
import yaml
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from cluster_tools import ROOT, Cluster
from kubernetes.client import ApiClient, ApiException, CoreV1Api
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sqlalchemy import select
from sqlalchemy.orm import Session
from waits import eventually

from learnloop.database import Dataset, Deployment, session
from learnloop.errors import LearnloopError
from learnloop.jobs.checksums import write_manifest
from learnloop.models.deployment import deploy, set_canary, withdraw
from learnloop.serving.client import ModelClient
from learnloop.serving.cluster.judging import Rules, Verdict
from learnloop.serving.cluster.objects import Objects, connect
from learnloop.serving.cluster.served import ServedModels
from learnloop.serving.cluster.template import Template, parse_template
from learnloop.serving.cluster.units import wanted_of
from learnloop.training.reference import FILE, reference
from learnloop_airflow.pods.canary import at_pods, watch

GOOD, ALSO_GOOD, DAMAGED, ERRING, SLOW = 1, 2, 3, 4, 5
ROW = load_digits().data[:1].astype(np.float32)
STEPS = 200
CONFIG = {
    "name": "digits",
    "task_type": "image_classification",
    "classes": [str(digit) for digit in range(10)],
    "image": {"width": 8, "height": 8, "mode": "L"},
}


def write_versions(models: Path) -> None:
    """Five versions of ``digits``: two good ones, one whose file was damaged after its registration, one that passes its
    smoke test and errs at most of what it is asked, and one that takes a tenth of a second for a row."""
    images, labels = load_digits(return_X_y=True)
    for version in (GOOD, ALSO_GOOD, DAMAGED, ERRING, SLOW):
        rows = slice(0, 200 * version)
        last = LogisticRegression(C=0.01, max_iter=1000).fit(images[rows], labels[rows].astype(str))
        model = last
        if version == ERRING:
            last.coef_[0, ROW.argmax()] = 1e308  # times more than 1.8, that is no number any more
        if version == SLOW:
            # The same as without them, many times over.
            model = make_pipeline(*(Normalizer() for _ in range(STEPS)), LogisticRegression())
            model.fit(images[rows], labels[rows].astype(str))
        folder = models / "digits" / str(version)
        folder.mkdir(parents=True)
        skops.io.dump(model, folder / "model.skops")
        flavor = {"pickled_model": "model.skops", "serialization_format": "skops"}
        (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))
        (folder / "dataset.yaml").write_text(yaml.safe_dump(CONFIG))
        (folder / FILE).write_text(json.dumps(reference(images[rows])))
        write_manifest(folder)
        if version == DAMAGED:
            (folder / "model.skops").write_bytes((folder / "model.skops").read_bytes()[:-100])


def png(row: np.ndarray) -> bytes:
    """A digit as a file, of the values that the versions were trained on."""
    sink = io.BytesIO()
    Image.fromarray(row.reshape(8, 8).astype(np.uint8), "L").save(sink, "PNG")
    return sink.getvalue()


def serving_template(models: Path, namespace: str, image: str, **changes: str) -> dict:
    """As deploy/kubernetes/serving-template.yaml, small, with a folder of this machine in the place of a claim.

    Args:
        changes: annotations of the template; None of those that it comes with are kept.
    """
    template = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "serving-template.yaml").read_text())
    template["metadata"] = {"namespace": namespace, "annotations": changes}
    pod = template["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "models", "hostPath": {"path": str(models), "type": "Directory"}}]
    pod["containers"][0]["image"] = image
    pod["containers"][0]["resources"] = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    return template


@dataclass
class Models:
    """``digits`` in a namespace, as rows of a database say it."""

    cluster: Cluster
    database_url: str
    template: Template
    said: list[str] = field(default_factory=list)
    client: ApiClient = field(default_factory=connect)

    def served(self) -> ServedModels:
        objects = Objects(self.client, self.cluster.namespace)
        models = self.cluster.home / "models"
        return ServedModels(
            objects, self.template, lambda name, number: models / name / str(number), models, self.said.append
        )

    def rows(self) -> list[Deployment]:
        with session(self.database_url) as db:
            found = list(db.scalars(select(Deployment)))
            db.expunge_all()
            return found

    def deploy(self, version: int, *aliases: str, timeout: float = 120) -> list[str]:
        """Says it in the rows, and waits until it is so. Returns what was changed in the cluster."""
        with session(self.database_url) as db:
            for alias in aliases:
                deploy(db, dataset_id=dataset(db), model_name="digits", alias=alias, version=version, owner="ann")
        return self.served().follow("digits", self.rows(), wait_for=aliases, timeout=timeout)

    def canary(self, version: int | None, percent: int = 0, timeout: float = 120) -> list[str]:
        with session(self.database_url) as db:
            set_canary(db, model_name="digits", alias="realtime", version=version, percent=percent, owner="ann")
        return self.served().follow("digits", self.rows(), wait_for=("realtime",), timeout=timeout)

    def withdraw(self, alias: str) -> list[str]:
        with session(self.database_url) as db:
            withdraw(db, "digits", alias)
        return self.served().follow("digits", self.rows())

    def url(self, alias: str) -> str:
        address = self.cluster.kubectl("get", "service", f"digits-{alias}", "-o", "jsonpath={.spec.clusterIP}")
        return f"http://{address}:8090"

    def answers(self, alias: str) -> int:
        """The version that answers there, once the Service is known on the node."""

        found: list[int] = []

        def ask() -> bool:
            try:
                with ModelClient(self.url(alias)) as client:
                    found.append(client.infer(f"digits:{alias}", ROW).model_version)
            except LearnloopError:
                return False
            return True

        eventually(ask)
        return found[0]

    def leads_to(self, alias: str, version: int) -> None:
        """Wait until the version answers there: a node hears of a changed Service a moment after those who changed it,
        or half a minute after it where the API server was away."""
        eventually(lambda: self.answers(alias) == version, 90)

    def evict(self, pod: dict) -> int:
        """Asks for the eviction of a pod, as a node's drain does. Returns the API server's status."""
        name = pod["metadata"]["name"]
        body = {"kind": "Eviction", "metadata": {"name": name}}
        try:
            version = "policy/v1" if Objects(self.client, "").has("policy/v1") else "policy/v1beta1"
            CoreV1Api(self.client).create_namespaced_pod_eviction(
                name, self.cluster.namespace, {"apiVersion": version, **body}, _preload_content=False
            )
        except ApiException as error:
            return int(error.status)
        return 201

    def watch(self, seconds: float, requests: int = 30) -> Verdict:
        """Watches the canary, as CanaryTrigger does."""
        unit = next(unit for unit in wanted_of("digits", self.rows()).units if unit.alias == "realtime")

        async def say(what: str) -> None:
            self.said.append(what)

        async def look() -> Verdict:
            async with AsyncKubernetesHook(conn_id="kubernetes_default").get_conn() as connection:
                looking = at_pods(connection, unit, self.cluster.namespace)
                return await watch(looking, unit, Rules(seconds=seconds, requests=requests), say=say)

        return asyncio.run(look())

    def names(self, kind: str) -> list[str]:
        return self.cluster.kubectl("get", kind, "-o", "jsonpath={.items[*].metadata.name}").split()

    def versions_of_pods(self) -> list[str]:
        return sorted(pod["metadata"]["labels"].get("learnloop/version", "") for pod in self.cluster.pods())


def dataset(db: Session) -> int:
    found = db.scalar(select(Dataset.id).where(Dataset.name == "digits"))
    if found is None:
        db.add(Dataset(name="digits", task_type="image_classification", owner="ann"))
        db.flush()
        return dataset(db)
    return found


@dataclass
class Asked:
    """What came of requests: how many each version answered, and what went wrong."""

    answered: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def wait_for_more(self, requests: int, seconds: float = 60) -> None:
        until, before = time.monotonic() + seconds, self.answered.total()
        while self.answered.total() < before + requests:
            assert time.monotonic() < until, f"no {requests} answers in {seconds:g} s; {self.failed[-3:]}"
            time.sleep(0.05)


@contextmanager
def asking(url: str, *, callers: int = 3, pause: float = 0.005) -> Iterator[Asked]:
    """Callers that ask on and on: each keeps its connection, but for one, that makes a new one for each request."""
    asked, stop, lock = Asked(), threading.Event(), threading.Lock()

    def ask(client: ModelClient) -> None:
        try:
            version = client.infer("digits", ROW).model_version
            with lock:
                asked.answered[version] += 1
        except LearnloopError as error:
            with lock:
                asked.failed.append(f"{type(error).__name__}: {error}")

    def keeps() -> None:
        with ModelClient(url) as client:
            while not stop.wait(pause):
                ask(client)

    def anew() -> None:
        while not stop.wait(pause):
            with ModelClient(url) as client:
                ask(client)

    threads = [threading.Thread(target=anew if number == 0 else keeps) for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def no_node(models: Models) -> Iterator[None]:
    """Has pods that are made meanwhile, by whoever reads the template's file, wait for a node that there is not."""
    file = models.cluster.home / "serving-template.yaml"
    was = file.read_text()
    changed = yaml.safe_load(was)
    changed["spec"]["template"]["spec"]["nodeSelector"] = {"learnloop-test/none": "x"}
    file.write_text(yaml.safe_dump(changed))
    yield
    file.write_text(was)


def of(cluster: Cluster, database_url: str, image: str, **changes: str) -> Models:
    template = serving_template(cluster.home / "models", cluster.namespace, image, **changes)
    return Models(cluster, database_url, parse_template(template, "the test's"))
