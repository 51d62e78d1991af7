"""What pods noted of live requests reaches the loop: once, checked, and only what the dataset wants.

The pods' processes are real; the way to them is plain HTTP here, and the API server in tests/kubernetes.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import skops.io
import yaml
from PIL import Image
from serving_support import free_port, wait_until
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, LiveSample, LiveWindow, session
from learnloop.errors import PermissionDenied
from learnloop.serving.client import ModelClient
from learnloop.serving.cluster.live import noting_of, read_live
from learnloop.serving.config import ServingConfig
from learnloop.serving.pinned import PinnedServer
from learnloop.training.models import load
from learnloop.training.reference import FILE, reference

CONFIG = {
    "name": "digits",
    "task_type": "image_classification",
    "classes": [str(digit) for digit in range(10)],
    "image": {"width": 8, "height": 8, "mode": "L"},
}
IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES * 15).astype(np.float32)


def png(row: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(row.reshape(8, 8).astype(np.uint8), "L").save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "1"
    folder.mkdir()
    skops.io.dump(LogisticRegression(C=1e-7, max_iter=50).fit(IMAGES, LABELS.astype(str)), folder / "model.skops")
    flavor = {"pickled_model": "model.skops", "serialization_format": "skops"}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))
    (folder / "dataset.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / FILE).write_text(json.dumps(reference(IMAGES)))
    return folder


class Pods:
    """As `learnloop.serving.cluster.objects.Objects`: lists pods, and leads to their processes."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}

    def all_of(self, api_version: str, kind: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        return [
            {"metadata": {"name": name, "uid": f"uid-{name}", "labels": {"learnloop/version": "1"}}}
            for name in self.urls
        ]

    def through(
        self, pod: str, port: int, path: str, *, query: Mapping[str, str], headers: Mapping[str, str], most: int
    ) -> bytes | None:
        answer = httpx.get(self.urls[pod] + path, params=dict(query), headers=dict(headers))
        if answer.status_code == 404:
            return None
        if answer.status_code == 403:
            raise PermissionDenied(answer.text)
        return answer.content[:most]


@pytest.fixture
def sessions(database_url: str) -> Callable[[], Any]:
    return lambda: session(database_url)


@pytest.fixture
def wants(sessions: Callable[[], Any], deploy_digits: Callable[..., Any], dataset_id: int) -> Callable[..., None]:
    deploy_digits(1)

    def say(**rules: Any) -> None:
        with sessions() as db:
            db.get_one(Dataset, dataset_id).loop = {"live": rules} if rules else {}

    return say


@pytest.fixture
def start(sessions: Callable[[], Any], model_folder: Path) -> Iterator[Callable[..., str]]:
    """Starts a pod's process as the rows want it; returns its address."""
    started: list[tuple[PinnedServer, threading.Thread]] = []

    def begin() -> str:
        noting = noting_of(sessions, "digits")
        server = PinnedServer(
            host="127.0.0.1",
            port=free_port(),
            name="digits",
            version=1,
            aliases=["realtime", "current"],
            folder=model_folder,
            load=load,
            config=ServingConfig(),
            live=noting.rules if noting else None,
            reader=noting.reader if noting else "",
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        started.append((server, thread))
        with ModelClient(server.url) as client:
            wait_until(client.ready)
        return server.url

    yield begin
    for server, _ in started:
        server.stop()
    for _, thread in started:
        thread.join()


def ask(url: str, rows: np.ndarray) -> None:
    with ModelClient(url) as client:
        client.infer_samples("digits", [png(row) for row in rows])


def rows_of(db: Session) -> int:
    db.rollback()
    return sum(window.rows for window in db.scalars(select(LiveWindow)))


def test_rows_and_samples_of_all_pods_are_read_once_also_when_a_reader_dies(sessions, wants, start, db) -> None:
    wants(record=1.0, ask_below=1.0, ask_a_day=15)
    pods = Pods()
    pods.urls = {"a": start(), "b": start()}
    ask(pods.urls["a"], IMAGES[:30])
    ask(pods.urls["b"], IMAGES[30:50])

    @contextmanager
    def dies() -> Iterator[Session]:
        with sessions() as opened:
            yield opened
            if opened.new or opened.dirty:
                raise KeyboardInterrupt  # before it is committed

    with pytest.raises(KeyboardInterrupt):
        read_live(dies, pods, log=print)  # type: ignore[arg-type]
    assert rows_of(db) == 0
    readers = [threading.Thread(target=read_live, args=(sessions, pods)) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert rows_of(db) == 50
    assert db.query(LiveSample).count() == 15  # a day's, of both together
    assert read_live(sessions, pods) == {"rows": 0, "samples": 0, "failed": []}  # type: ignore[arg-type]
    (window,) = db.scalars(select(LiveWindow))
    assert {sum(feature) for feature in window.counts["inputs"]} == {50}
    pods.urls["a"] = start()  # the same pod, its process started again
    ask(pods.urls["a"], IMAGES[:7])
    assert read_live(sessions, pods)["rows"] == 7  # type: ignore[arg-type]
    assert rows_of(db) == 57


def test_nothing_is_noted_or_read_unless_the_dataset_says_so(sessions, wants, start, db) -> None:
    pods = Pods()
    pods.urls = {"a": start()}
    ask(pods.urls["a"], IMAGES[:5])
    assert httpx.get(pods.urls["a"] + "/api/live").status_code == 404
    wants(record=1.0)
    assert read_live(sessions, pods) == {"rows": 0, "samples": 0, "failed": []}  # type: ignore[arg-type]
    pods.urls = {"b": start()}
    ask(pods.urls["b"], IMAGES[:5])
    assert httpx.get(pods.urls["b"] + "/api/live").status_code == 403
    wants()
    assert read_live(sessions, pods)["rows"] == 0  # type: ignore[arg-type]
    wants(record=1.0)
    assert read_live(sessions, pods)["rows"] == 5  # type: ignore[arg-type]
    assert db.query(LiveSample).count() == 0


WINDOW = {"hour": "2026-01-01T05:00:00Z", "rows": 3, "counts": {"confidence": [3, *[0] * 9], "predicted": [3, 0]}}
PART = {"instance": "0" * 32, "number": 1, "windows": [WINDOW], "samples": []}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"<html>", "Invalid JSON"),
        ({**PART, "instance": "x"}, "instance"),
        ({**PART, "windows": [{**WINDOW, "rows": -1}]}, "windows.0.rows"),
        ({**PART, "windows": [{**WINDOW, "hour": "2999-01-01T05:00:00Z"}]}, "an hour at 2999"),
        ({**PART, "windows": [{**WINDOW, "counts": {"confidence": [1], "predicted": [3]}}]}, "confidence"),
        ({**PART, "samples": [{"confidence": 2, "data": ""}]}, "samples.0.confidence"),
    ],
)
def test_a_pod_that_says_what_cannot_be_is_told_of_and_the_others_are_read(
    sessions, wants, start, db, said, why
) -> None:
    class Lies(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said if isinstance(said, bytes) else json.dumps(said).encode())

        def log_message(self, *_: Any) -> None:
            pass

    wants(record=1.0)
    pods, liar = Pods(), HTTPServer(("127.0.0.1", 0), Lies)
    threading.Thread(target=liar.serve_forever, daemon=True).start()
    pods.urls = {"liar": f"http://127.0.0.1:{liar.server_port}", "sound": start()}
    ask(pods.urls["sound"], IMAGES[:5])
    told: list[str] = []
    found = read_live(sessions, pods, log=told.append)  # type: ignore[arg-type]
    liar.shutdown()
    assert (found["rows"], rows_of(db)) == (5, 5)
    (failed,) = found["failed"]
    assert failed.startswith("liar: ")
    assert why in failed
    assert failed in told[0]


def test_pods_are_told_what_to_note_and_only_the_hash_of_the_token(sessions, wants) -> None:
    wants()
    assert noting_of(sessions, "digits") is None
    wants(record=0.0, ask_below=None, ask_a_day=40)
    assert noting_of(sessions, "digits") is None
    wants(record=0.5)
    noting = noting_of(sessions, "digits")
    assert noting == noting_of(sessions, "digits")
    assert noting is not None
    assert asdict(noting.rules)["record"] == 0.5
    assert noting.arguments()[0] == "--live"
    assert json.loads(noting.arguments()[1])["record"] == 0.5
    assert len(noting.reader) == 64
