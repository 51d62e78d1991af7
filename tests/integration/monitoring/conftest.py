"""A platform that a real Prometheus watches: our API and a model server in threads, PostgreSQL, Airflow's tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import skops.io
import uvicorn
import yaml
from airflow_tables import airflow_tables
from backups_taken import backup_that_fails
from databases import new_database
from fastapi import Request
from prometheus_server import PROMETHEUS, WHY_NOT, Prometheus, prometheus, rendered
from s3_server import free_ports
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sqlalchemy import Engine, func, update
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.routing import Mount

from learnloop import settings
from learnloop.database import AnnotationTask, Batch, Dataset, engine, session
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree
from learnloop.errors import NotAuthenticated
from learnloop.models.deployment import deploy
from learnloop.permissions import SCRAPER, Principal
from learnloop.serving.callers import Callers
from learnloop.serving.client import ModelClient
from learnloop.serving.config import ServingConfig
from learnloop.serving.server import ModelServer
from learnloop.training.models import load

API = "/learnloop/api/v1"
TOKEN = "what-prometheus-shows"
CLASSES = ["cat", "dog"]
SLOW_SECONDS = 0.6


class _Odd:
    """A model that errs at ten rows and more, and takes its time for five: what requests are like decides.

    Version 3 errs at seven, too.
    """

    def __init__(self, folder: Path) -> None:
        self.model = load(folder)
        self.classes, self.input_size = self.model.classes, self.model.input_size
        self.errs_at = 7 if folder.name == "3" else 10

    def predict_proba(self, features: Any) -> Any:
        if len(features) >= self.errs_at:
            raise FloatingPointError("it has not seen this before")
        if len(features) == 5:
            threading.Event().wait(SLOW_SECONDS)
        return self.model.predict_proba(features)


@contextmanager
def running(app: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """``app`` at an address on loopback, and what stops it."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.02)

    def stop() -> None:
        server.should_exit = True
        thread.join()

    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", stop
    finally:
        stop()


@dataclass
class Watched:
    """``prometheus`` watches the API at ``api``, another one at ``second_api``, and model servers."""

    prometheus: Prometheus
    api: str
    airflow: Engine
    folder: Path
    stop_second_api: Callable[[], None]
    models: dict[str, ModelServer]

    @contextmanager
    def db(self) -> Iterator[Session]:
        with session() as opened:
            yield opened

    def dataset(self, name: str, tasks: int = 0, labels: int = 1000, **loop: Any) -> Dataset:
        """A dataset with open questions."""
        with session() as db:
            made = Dataset(
                name=name,
                task_type="image_classification",
                loop={"classes": CLASSES, "policy": {"labels": labels}, **loop},
                owner="ada",
            )
            db.add(made)
            db.flush()
            store = Store(settings.settings().store)
            sample = store.add_bytes(name.encode())
            batch = Batch(
                dataset_id=made.id, name="b", tree=store.write_tree(Tree({"x": sample})), samples=tasks, owner="ada"
            )
            db.add(batch)
            db.flush()
            prediction = {
                "label": "cat",
                "confidence": 0.6,
                "probabilities": {"cat": 0.6, "dog": 0.4},
                "model_version": 1,
            }
            common = {"dataset_id": made.id, "batch_id": batch.id, "path": "x", "object": sample, "owner": "ada"}
            reason = {"strategy": "random", "rank": 0, "model_version": 1}
            db.add_all(
                AnnotationTask(sample_id=f"s{n}", prediction=prediction, reason=reason, **common) for n in range(tasks)
            )
            return made

    def ago(self, table: Any, column: str = "created_at", /, *where: Any, **past: float) -> None:
        """Put what rows of ``table`` say back in time: what lasted for days is not waited for."""
        with session() as db:
            db.execute(update(table).where(*where).values({column: func.now() - timedelta(**past)}))

    def deploy(self, name: str, version: int, alias: str = "current") -> None:
        with session() as db:
            dataset = db.query(Dataset).filter_by(name=name).one()
            deploy(db, dataset_id=dataset.id, model_name=name, alias=alias, version=version, owner="ada")

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://{self.api}{API}{path}", timeout=30)

    def infer(self, name: str, rows: int, value: float = 0.0) -> int:
        """The status of a request for so many rows, all of whose features are ``value``."""
        data = np.full((rows, 2), value, dtype=np.float32).ravel().tolist()
        body = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [rows, 2], "data": data}]}
        return httpx.post(f"{self.models['first'].url}/v2/models/{name}/infer", json=body, timeout=30).status_code

    def fires(self, expression: str, but: Sequence[Any] = (), **labels: str) -> None:
        """Wait until ``expression`` has a result with these ``labels``, other than those in ``but``."""
        deadline = time.monotonic() + 100  # a busy machine is no fault
        while time.monotonic() < deadline:
            found = self.results(expression)
            if any(labels.items() <= one.items() for one in found if one not in but):
                return
            time.sleep(0.1)
        raise AssertionError(f"no result with {labels} of {expression}: {found}; {self.targets()}")

    def results(self, expression: str) -> list[dict[str, str]]:
        """The labels of each."""
        return [one["metric"] for one in self.prometheus.query(expression)]

    def targets(self) -> list[str]:
        """How each target's last scrape went."""
        found = httpx.get(f"{self.prometheus.url}/api/v1/targets", timeout=10).json()["data"]["activeTargets"]
        return [
            f"{one['scrapeUrl']} {one['health']} {one['lastError']} ({one['lastScrapeDuration']:.2f} s)"
            for one in found
        ]


@pytest.fixture(scope="module")
def watched(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if PROMETHEUS is None:
        pytest.skip(WHY_NOT)
    folder = tmp_path_factory.mktemp("watched")
    with (
        new_database(postgres) as url,
        new_database(postgres, "template1") as airflow_url,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("LEARNLOOP_HOME", str(folder / "home"))
        patch.setenv("LEARNLOOP_DATABASE_URL", url)
        patch.setenv("LEARNLOOP_METRICS_TOKEN", TOKEN)
        settings.settings.cache_clear()
        engine.cache_clear()
        for place in ("store", "namespaces", "models"):
            (folder / "home" / place).mkdir(parents=True)
        backup_that_fails(folder)  # one has been begun, as where all is well
        airflow = airflow_tables(airflow_url)
        app = watched_app(airflow)
        servers = {name: model_server(folder, url) for name in ("first", "second")}
        with running(app) as (api, _), running(app) as (second, stop_second):
            targets = {
                "api": [api, second],
                "loop": [api],
                "model-server": [server.url.removeprefix("http://") for server, _ in servers.values()],
            }
            configuration = rendered(folder / "configuration", TOKEN, targets)
            with prometheus(configuration) as found:
                models = {name: server for name, (server, _) in servers.items()}
                yield Watched(found, api, airflow, folder, stop_second, models)
        for server, thread in servers.values():
            server.stop()
            thread.join()
        airflow.dispose()
        engine().dispose()
        engine.cache_clear()
    settings.settings.cache_clear()


def watched_app(airflow: Engine) -> Any:
    """Our application, which reads its figures anew each time. Who shows no token is an admin."""
    from learnloop.database import reading
    from learnloop.monitoring.collector import Collector, loop_parts
    from learnloop_airflow.airflow_figures import airflow_part
    from learnloop_airflow.api import auth
    from learnloop_airflow.api.app import create_app

    app = create_app()
    parts = [*loop_parts(reading), airflow_part(lambda: Session(airflow))]
    for part in parts:
        part.seconds = 0
    app.state.collector = Collector(parts)

    def who(request: Request) -> Principal:
        shown = request.headers.get("authorization")
        if shown not in (None, f"Bearer {TOKEN}"):
            raise NotAuthenticated("not a token")
        return SCRAPER if shown else Principal("ada", frozenset({"admin"}))

    app.dependency_overrides[auth.principal] = who
    return Starlette(routes=[Mount(API, app)])


def model_server(folder: Path, url: str) -> tuple[ModelServer, threading.Thread]:
    """A model server that finds versions 1 to 3 of any model; the second is a broken file, and the third errs."""
    place = folder / "registry"
    if not place.exists():
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        pipeline.fit(np.random.default_rng(0).normal(size=(40, 2)), np.array(CLASSES * 20))
        for version in (1, 2, 3):
            (place / str(version)).mkdir(parents=True)
            skops.io.dump(pipeline, place / str(version) / "model.skops")
            flavor = {"pickled_model": "model.skops", "serialization_format": "skops"}
            (place / str(version) / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))
        broken = place / "2" / "model.skops"
        broken.write_bytes(broken.read_bytes()[:-2000])
    server = ModelServer(
        host="127.0.0.1",
        port=free_ports(1)[0],
        database_url=url,
        source_of=lambda name, version: place / str(version),
        load=_Odd,
        callers=Callers("http://127.0.0.1:9"),
        config=ServingConfig(probation=0.5),
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    with ModelClient(server.url) as client:
        while not client.ready():
            assert thread.is_alive()
            threading.Event().wait(0.02)
    return server, thread
