"""The HTTP API, over real sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

import httpx
import numpy as np
import pytest
import uvicorn
from serving_support import free_port, wait_until

from learnloop.errors import InvalidInput, NotFound, Unavailable
from learnloop.serving.app import create_app
from learnloop.serving.client import ModelClient
from learnloop.serving.config import ServingConfig
from learnloop.serving.inference import Inference
from learnloop.serving.loading import Loader
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet
from learnloop.training.models import load

CONFIG = ServingConfig()
MAX_BODY, MAX_SMALL, MAX_LARGE = CONFIG.body_bytes, CONFIG.queue, CONFIG.large_queue


@pytest.fixture(scope="module")
def url(registry):
    """A server with two versions of digits and no database."""
    models = ModelSet(lambda name, version: registry / name / str(version), load)
    for version in (1, 2):
        models.load("digits", version)
    models.move_alias("digits", "current", 1)
    models.move_alias("digits", "realtime", 2)
    metrics = Metrics(models)
    inference = Inference(models, Loader(models), metrics, CONFIG, on_fault=lambda loaded: None)
    app = create_app(models, metrics, inference, ready=lambda: True, live=lambda: True)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def http(url):
    with httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def client(url):
    with ModelClient(url) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "asked", "version"),
    [("digits", None, 1), ("digits:current", None, 1), ("digits:realtime", None, 2), ("digits", 2, 2)],
)
@pytest.mark.parametrize("count", [1, 10, 2000])
def test_names_tags_and_versions_lead_to_the_right_model(client, rows, expected, name, asked, version, count):
    prediction = client.infer(name, np.tile(rows, (200, 1))[:count], asked)
    assert prediction.model_version == version
    assert len(prediction.labels) == count
    wanted = np.tile(expected[version], (200, 1))[:count]
    np.testing.assert_allclose(prediction.probabilities, wanted, atol=1e-6)


def test_a_colon_may_be_plain_or_encoded(http, rows):
    tensor = {"name": "features", "datatype": "FP64", "shape": [10, 64], "data": rows.tolist()}
    for name in ("digits:realtime", "digits%3Arealtime"):
        answer = http.post(f"/v2/models/{name}/infer", json={"inputs": [tensor], "id": "a"}).json()
        assert (answer["model_version"], answer["id"]) == ("2", "a")


@pytest.mark.parametrize(
    ("path", "content", "status", "says"),
    [
        ("/v2/models/digits/infer", b"{", 400, "not valid JSON"),
        ("/v2/models/digits/infer", b'{"inputs": []}', 400, "exactly one input"),
        ("/v2/models/letters/infer", b"{}", 404, "served are: digits:current, digits:realtime"),
        ("/v2/models/digits:optimized/infer", b"{}", 404, "digits:optimized"),
        ("/v2/models/digits/versions/9/infer", b"{}", 404, "loaded versions: 1, 2"),
        ("/v2/models/digits/versions/newest/infer", b"{}", 400, "whole number"),
        ("/v2/models/digits:current/versions/1/infer", b"{}", 400, "not both"),
        ("/v2/models/digits/infer", b" " * (MAX_BODY + 1), 413, "at most 16777216"),
        ("/api/show", b"[]", 400, "must name a model"),
        ("/api/show", b"", 400, "not valid JSON"),
        ("/api/show", b'{"model": "letters"}', 404, "letters:current"),
        ("/v2/models/digits", b"", 405, "Method Not Allowed"),
        ("/v1/nothing", b"", 404, "/v1/nothing: Not Found"),
    ],
)
def test_a_bad_request_gets_the_protocols_error_and_its_reason(http, path, content, status, says):
    response = http.post(path, content=content)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert says in response.json()["error"]


def test_a_body_in_chunks_is_limited_too(http, rows):
    response = http.post("/v2/models/digits/infer", content=(b" " * 2**20 for _ in range(18)))
    assert response.status_code == 413
    assert http.get("/v2/health/live").json() == {"live": True}


@pytest.mark.parametrize(("length", "limit"), [(1000, MAX_SMALL), (10**6, MAX_LARGE)], ids=["small", "large"])
def test_a_full_queue_says_so_at_once_and_recovers(url, http, client, rows, length, limit):
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(limit):  # their bodies never come: each holds a place
            connection = stack.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(head.encode())
        wait_until(lambda: f"waiting_requests {limit}.0" in http.get("/metrics").text)
        response = http.post("/v2/models/digits/infer", content=b" " * length)
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        with pytest.raises(Unavailable, match=url) if limit == MAX_SMALL else ExitStack():
            client.infer("digits", rows[:1])
    wait_until(lambda: "waiting_requests 0.0" in http.get("/metrics").text)
    assert client.infer("digits", rows).model_version == 1


def test_metadata_and_reads(http, client):
    metadata = http.get("/v2/models/digits:realtime").json()
    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 64]}]
    assert metadata["parameters"] == {"version": "2", "classes": [str(digit) for digit in range(10)]}
    assert client.metadata("digits", 1)["parameters"]["version"] == "1"
    assert http.get("/v2").json()["name"] == "learnloop"
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2/models/digits/versions/2/ready").json()["ready"]
    assert http.get("/v2/models/letters/ready").status_code == 404
    assert [(model["name"], model["version"]) for model in client.models()] == [
        ("digits:current", 1),
        ("digits:realtime", 2),
    ]
    running = http.get("/api/ps").json()["models"]
    assert [(model["version"], model["tags"], model["requests"]) for model in running] == [
        (1, ["digits:current"], 0),
        (2, ["digits:realtime"], 0),
    ]
    shown = http.post("/api/show", json={"model": "digits"}).json()
    assert shown["model_info"]["name"] == "digits"
    assert "learnloop_serving_requests_total" in http.get("/metrics").text


def test_the_client_tells_errors_apart(client, rows):
    with pytest.raises(NotFound, match="letters:current"):
        client.infer("letters", rows)
    with pytest.raises(InvalidInput, match=r"must be \[rows, 64\]"):
        client.infer("digits", rows[:, :10])
    with pytest.raises(InvalidInput, match=r"must be \[rows, columns"):
        client.infer("digits", rows[0])
    with pytest.raises(InvalidInput, match="row 0, column 0 is nan"):
        client.infer("digits", np.full((1, 64), np.nan))
    with pytest.raises(InvalidInput, match="at most 10000"):
        client.infer("digits", np.zeros((10_001, 64), dtype=np.float32))
    with pytest.raises(Unavailable, match="has no letters after 0 s"):
        client.wait_ready("letters", timeout=0)


def test_a_client_without_a_server_says_where_it_looked():
    address = f"http://127.0.0.1:{free_port()}"
    with ModelClient(address) as client:
        assert not client.ready()
        with pytest.raises(Unavailable, match=f"{address} does not answer"):
            client.models()
