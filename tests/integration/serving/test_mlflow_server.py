"""A registry on an MLflow server that is there already: a real one, with a database and artefacts of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.tracking import MlflowClient
from serving_support import free_port
from sqlalchemy import func, update

from learnloop.database import Deployment, session
from learnloop.errors import Corrupted, InvalidInput, NotFound, Unavailable
from learnloop.jobs.checksums import check_manifest
from learnloop.models import promotion
from learnloop.models import registry as models
from learnloop.serving.client import ModelClient
from learnloop.settings import settings
from learnloop.training.models import load

PROGRAM = os.environ.get("MLFLOW_PROGRAM", "mlflow-server-is-not-named")

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        shutil.which(PROGRAM) is None,
        reason="MLFLOW_PROGRAM names no `mlflow` with its server; `make faults` installs one",
    ),
]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    port = free_port()
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "kept")]
    command = [PROGRAM, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *places]
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, (folder / "mlflow.log").read_text()
            assert time.monotonic() < deadline, (folder / "mlflow.log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address, and where it keeps artefacts."""
    folder = tmp_path_factory.mktemp("mlflow")
    with serving(folder) as url:
        yield url, folder / "kept"


@pytest.fixture
def url(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The settings of a stack that was told of the server by MLflow's own variable."""
    for name in ("LEARNLOOP_MLFLOW_URL", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server[0] + "/")
    at_home(tmp_path, monkeypatch)
    assert settings().mlflow_url == server[0]
    models.prepare()
    yield server[0]
    settings.cache_clear()


def at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNLOOP_HOME", str(folder))
    settings.cache_clear()


def register(folder: Path, key: str, name: str = "digits") -> int:
    return models.register(
        name,
        folder,
        models_root=settings().models,
        tags={"round": key, "gate": "accepted"},
        metrics={"accuracy": 0.9},
        idempotency_key=key,
        files={"report.html": f"<p>the report of {key}</p>"},
    )


def test_versions_aliases_and_reports_are_kept_there(url: str, registry: Path) -> None:
    name = "versions"
    assert models.list_versions(name) == []
    assert models.version_of(name, "base") is None
    assert register(registry / "digits/1", "one", name) == 1
    assert register(registry / "digits/2", "one", name) == 1  # again: the version that is there
    assert register(registry / "digits/2", "two", name) == 2
    newest, oldest = models.list_versions(name)
    assert (newest.version, oldest.version, oldest.metrics) == (2, 1, {"accuracy": 0.9})
    assert oldest.tags == {"round": "one", "gate": "accepted", "idempotency_key": "one"}
    assert name in models.names()
    models.set_tags(name, 1, {"gate": "overruled"})
    assert models.get_version(name, 1).tags["gate"] == "overruled"
    models.set_alias(name, "base", 1)
    assert (models.version_of(name, "base"), models.get_version(name, 1).aliases) == (1, ("base",))
    models.set_alias(name, "base", 2)
    assert models.version_of(name, "base") == 2
    models.remove_alias(name, "base")
    models.remove_alias(name, "base")
    assert models.version_of(name, "base") is None
    assert models.file_of(name, 2, "report.html") == "<p>the report of two</p>"
    for missing in (
        lambda: models.get_version(name, 9),
        lambda: models.set_alias(name, "base", 9),
        lambda: models.source_of("cats", 1),
    ):
        with pytest.raises(NotFound):
            missing()

    # Others register there, too: under a name that ours cannot be, and without a key of ours.
    theirs = MlflowClient(url)
    for model in (".theirs", "theirs"):
        theirs.create_registered_model(model)
        at, run = models.registry_server.keep(url, model, registry / "digits/1", {})
        theirs.create_model_version(model, at, run_id=run)
    with pytest.raises(InvalidInput, match=r"model '\.theirs' cannot be used here"):
        models.source_of(".theirs", 1)
    assert load(models.source_of("theirs", 1)).input_size == 64

    # What the server itself says of it: the version's run has the report and the figures.
    def ask(what: str, **params: str) -> dict[str, Any]:
        return httpx.get(f"{url}/api/2.0/mlflow/{what}", params=params).raise_for_status().json()

    run_id = ask("model-versions/get", name=name, version="2")["model_version"]["run_id"]
    metrics = ask("runs/get", run_id=run_id)["run"]["data"]["metrics"]
    assert [(found["key"], found["value"]) for found in metrics] == [("accuracy", 0.9)]
    files = {file["path"] for file in ask("artifacts/list", run_id=run_id, path="model")["files"]}
    assert files == {"model/MLmodel", "model/model.skops", "model/report.html", "model/manifest.json"}


def test_another_machine_fetches_what_it_does_not_have_and_checks_it(
    server: tuple[str, Path], url: str, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(registry / "digits/1", "fetched", "fetched")
    here = models.source_of("fetched", 1)
    assert here.is_relative_to(tmp_path / "models")
    at_home(tmp_path / "elsewhere", monkeypatch)
    there = models.source_of("fetched", 1)
    assert there.is_relative_to(tmp_path / "elsewhere")
    check_manifest(there)
    assert (there / "model.skops").read_bytes() == (here / "model.skops").read_bytes()
    assert models.source_of("fetched", 1) == there
    shutil.rmtree(there)
    for kept in server[1].rglob("model.skops"):
        kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(Corrupted, match=r"model\.skops does not match its checksum"):
        models.source_of("fetched", 1)
    assert list(there.parent.iterdir()) == []


def test_promotion_and_rollback_move_the_aliases_there(
    url: str, registry: Path, serve: Callable[..., Any], dataset_id: int, database_url: str, rows: Any
) -> None:
    first, second = (register(registry / f"digits/{number}", str(number)) for number in (1, 2))
    running = serve(source_of=models.source_of)
    sessions = partial(session, database_url)
    for version in (first, second):
        promotion.promote(sessions, "digits", "realtime", version, by="ann")
        assert models.version_of("digits", "realtime") == models.version_of("digits", "current") == version
    with ModelClient(running.url) as client:
        assert client.infer("digits:realtime", rows).model_version == second
        promotion.roll_back(sessions, "digits", "realtime", by="ann")
        assert client.infer("digits", rows).model_version == first
    assert models.version_of("digits", "realtime") == models.version_of("digits", "current") == first
    models.set_alias("digits", "current", second)  # as if the server had been away when it was rolled back
    with session(database_url) as db:
        db.execute(update(Deployment).values(updated_at=func.now() - timedelta(hours=1)))
    assert promotion.align_registry(sessions) == ["digits:current"]


def test_a_server_that_is_away_and_a_password_in_the_address_are_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"the MLflow server at http://127\.0\.0\.1:9 does not do it"):
        models.list_versions("digits", "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="MLFLOW_TRACKING_PASSWORD"):
        models.list_versions("digits", "http://ann:secret@127.0.0.1:9")
