"""Real models in MLflow's layout, and real servers: in threads of the test, on an embedded PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import yaml
from serving_support import BROKEN_FILE, BROKEN_WEIGHTS, free_port, wait_until
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from learnloop.database import Dataset, session
from learnloop.models.deployment import deploy
from learnloop.serving.callers import Callers
from learnloop.serving.client import ModelClient
from learnloop.serving.config import ServingConfig
from learnloop.serving.server import ModelServer
from learnloop.serving.versions import Load, Source
from learnloop.training.models import load

NOWHERE = "http://127.0.0.1:9"
"""Where no API answers."""


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``digits/{1,2}`` (good) and the broken versions."""
    images, labels = load_digits(return_X_y=True)
    folder = tmp_path_factory.mktemp("registry")
    for version in (1, 2, BROKEN_FILE, BROKEN_WEIGHTS):
        rows = slice(300 * (version % 5), 300 * (version % 5) + 300)
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
        pipeline.fit(images[rows], labels[rows].astype(str))
        if version == BROKEN_WEIGHTS:
            pipeline[-1].coef_ *= np.nan
        place = folder / "digits" / str(version)
        place.mkdir(parents=True)
        skops.io.dump(pipeline, place / "model.skops")
        flavor = {"pickled_model": "model.skops", "serialization_format": "skops"}
        (place / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))
        if version == BROKEN_FILE:
            (place / "model.skops").write_bytes((place / "model.skops").read_bytes()[:-2000])
    return folder


@pytest.fixture(scope="session")
def rows() -> np.ndarray:
    """Ten digits, float32 ``[10, 64]``."""
    return load_digits().data[-10:].astype(np.float32)


@pytest.fixture(scope="session")
def expected(registry: Path, rows: np.ndarray) -> dict[int, np.ndarray]:
    """The probabilities of ``rows`` by each good version."""
    return {version: load(registry / "digits" / str(version)).predict_proba(rows) for version in (1, 2)}


@pytest.fixture
def dataset_id(database_url: str) -> int:
    with session(database_url) as opened:
        dataset = Dataset(name="digits", task_type="image_classification", owner="ann")
        opened.add(dataset)
        opened.flush()
        return dataset.id


@pytest.fixture
def deploy_digits(database_url: str, dataset_id: int) -> Callable[..., tuple[int, int]]:
    """Deploys a version of digits; returns the deployment's id and generation."""

    def deploy_version(version: int, alias: str = "current") -> tuple[int, int]:
        with session(database_url) as opened:
            row = deploy(opened, dataset_id=dataset_id, model_name="digits", alias=alias, version=version, owner="ann")
            return row.id, row.generation

    return deploy_version


@pytest.fixture
def serve(database_url: str, registry: Path) -> Iterator[Callable[..., ModelServer]]:
    """Starts a server that is ready when it is returned, and stops it after the test."""
    started: list[tuple[ModelServer, threading.Thread]] = []

    def start(load: Load = load, api_url: str = NOWHERE, source_of: Source | None = None, **config: Any) -> ModelServer:
        server = ModelServer(
            host="127.0.0.1",
            port=free_port(),
            database_url=database_url,
            source_of=source_of or (lambda name, version: registry / name / str(version)),
            load=load,
            callers=Callers(api_url),
            config=ServingConfig(**{"probation": 0.5, **config}),
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        started.append((server, thread))
        with ModelClient(server.url) as client:
            wait_until(client.ready)
        return server

    yield start
    for server, _ in started:
        server.stop()
    for _, thread in started:
        thread.join()
