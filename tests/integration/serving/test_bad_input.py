"""The bad input that the issue lists: each is told in the protocol's own form, and the server stays up."""

from __future__ import annotations

import json
import shutil
import socket
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import skops.io
import yaml
from sklearn.linear_model import LogisticRegression

from learnloop.errors import Conflict, Corrupted, InvalidInput
from learnloop.jobs.checksums import write_manifest
from learnloop.models.registry import check
from learnloop.serving.client import ModelClient
from learnloop.training.models import load

TABLE = {
    "name": "wines",
    "task_type": "tabular_classification",
    "classes": ["no", "yes"],
    "tabular": {"columns": {"alcohol": "number", "colour": ["red", "white"]}},
}


def write_model(folder: Path, config: dict | None = None, features: int = 3) -> Path:
    """A small model; of a table's rows when ``config`` is given."""
    folder.mkdir(parents=True)
    rows = np.random.default_rng(0).normal(size=(60, features))
    model = LogisticRegression().fit(rows, np.where(rows[:, 0] > 0, "yes", "no"))
    skops.io.dump(model, folder / "model.skops")
    flavor = {"pickled_model": "model.skops", "serialization_format": "skops"}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))
    if config is not None:
        (folder / "dataset.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def server(serve, deploy_digits, tmp_path):
    deploy_digits(1)
    folder = write_model(tmp_path / "wines", TABLE)
    return serve(source_of=lambda name, version: folder)


def infer(server, *inputs, name="digits"):
    return httpx.post(f"{server.url}/v2/models/{name}/infer", json={"inputs": list(inputs)})


def features(**changes):
    return {"name": "features", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3], **changes}


ALCOHOL = {"name": "alcohol", "datatype": "FP64", "shape": [2], "data": [1.5, 2.5]}
COLOUR = {"name": "colour", "datatype": "BYTES", "shape": [2], "data": ["red", "white"]}


@pytest.mark.parametrize(
    ("inputs", "name", "status", "says"),
    [
        ([features(shape=[1, 4])], "digits", 400, "it must be [rows, 3]"),
        ([features(datatype="INT64")], "digits", 400, "FP32, FP64"),
        ([features(data=[1, 2, None])], "digits", 400, "row 0, column 2 is None"),
        ([features(shape=[10_001, 3])], "digits", 400, "at most 10000"),
        ([features()], "letters", 404, "letters:current"),
        ([features()], "digits:optimized", 404, "digits:optimized"),
        ([features()], "digits:7", 404, "version 7 of model 'digits' is not loaded here"),
        ([ALCOHOL], "digits", 400, "sample 0 does not fit the columns of dataset.yaml: missing: colour"),
        ([ALCOHOL, {**COLOUR, "data": ["red", None]}], "digits", 400, "sample 1 .* missing: colour"),
        ([ALCOHOL, {**COLOUR, "data": ["red", "blue"]}], "digits", 400, "column 'colour' is 'blue'"),
        ([ALCOHOL, {**COLOUR, "name": "color"}], "digits", 400, "column 'color' is not one of"),
        ([ALCOHOL, {**COLOUR, "data": [1, 2]}], "digits", 400, "column 'colour' is 1"),
        ([{**ALCOHOL, "data": ["1.5", 2]}, COLOUR], "digits", 400, "column 'alcohol' must be a finite number"),
        ([ALCOHOL, COLOUR, features()], "digits", 400, "exactly one input"),
    ],
)
def test_a_wrong_request_says_what_is_wrong_and_the_next_is_answered(server, inputs, name, status, says):
    import re

    response = infer(server, *inputs, name=name)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert re.search(says if ".*" in says else re.escape(says), response.json()["error"])
    assert infer(server, ALCOHOL, COLOUR).status_code == 200


def test_columns_and_rows_as_json_are_answered_alike(server):
    rows = [{"alcohol": 1.5, "colour": "red"}, {"alcohol": 2.5, "colour": "white"}]
    with ModelClient(server.url) as client:
        by_row = client.infer_samples("digits", [json.dumps(row).encode() for row in rows]).probabilities
    by_column = infer(server, ALCOHOL, COLOUR).json()["outputs"][0]["data"]
    np.testing.assert_allclose(by_row.ravel(), by_column, atol=1e-6)


def test_a_body_of_a_hundred_megabytes_is_refused_unread_and_ten_thousand_rows_are_answered(server):
    with httpx.Client(base_url=server.url, timeout=60) as http:
        response = http.post("/v2/models/digits/infer", content=(b" " * 2**20 for _ in range(100)))
        assert response.status_code == 413
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        declared = f"Content-Length: {100 * 2**20}"
        connection.sendall(f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\n{declared}\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
    with ModelClient(server.url) as client:
        answer = client.infer("digits", np.ones((10_000, 3), dtype=np.float32))
        assert answer.probabilities.shape == (10_000, 2)


def cut_short(folder: Path) -> None:
    data = (folder / "model.skops").read_bytes()
    (folder / "model.skops").write_bytes(data[: len(data) // 2])


def tampered_with(folder: Path) -> None:
    other = write_model(folder.parent / "other", features=3)
    (folder / "MLmodel").write_text((other / "MLmodel").read_text() + "# changed\n")


def of_an_untrusted_type(folder: Path) -> None:
    names = {}
    with zipfile.ZipFile(folder / "model.skops") as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(names["schema.json"])
    schema["__class__"], schema["__module__"] = "Popen", "subprocess"
    names["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    write_manifest(folder)


def pickled(folder: Path) -> None:
    flavor = {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavor}}))
    write_manifest(folder)


def of_a_flavor_that_runs_code(folder: Path) -> None:
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": {"loader_module": "evil"}}}))
    write_manifest(folder)


def with_another_feature_schema(folder: Path) -> None:
    columns = {**TABLE["tabular"]["columns"], "age": "number"}
    (folder / "dataset.yaml").write_text(yaml.safe_dump({**TABLE, "tabular": {"columns": columns}}))
    write_manifest(folder)


def with_the_reference_of_another(folder: Path) -> None:
    (folder / "reference.json").write_text(json.dumps({"features": [9], "edges": [[0.5]], "counts": [[1, 2]]}))
    write_manifest(folder)


BROKEN = [
    (cut_short, Corrupted, "does not match its checksum"),
    (tampered_with, Corrupted, "does not match its checksum"),
    (of_an_untrusted_type, InvalidInput, "types that may not be loaded: subprocess.Popen"),
    (pickled, InvalidInput, "saved as 'cloudpickle', which may run code"),
    (of_a_flavor_that_runs_code, InvalidInput, "has the flavors python_function; what loads here"),
    (with_another_feature_schema, InvalidInput, "the feature schema has changed"),
    (with_the_reference_of_another, Corrupted, "is of another model"),
]


@pytest.fixture
def broken(tmp_path):
    def make(change) -> Path:
        folder = write_model(tmp_path / "broken", TABLE)
        write_manifest(folder)
        change(folder)
        return folder

    return make


@pytest.mark.parametrize(("change", "error", "says"), BROKEN, ids=[change.__name__ for change, _, _ in BROKEN])
def test_a_broken_model_is_refused_at_its_registration(broken, change, error, says):
    with pytest.raises(error, match=says):
        check(broken(change))


def test_a_sound_model_passes(broken):
    check(broken(lambda folder: None))


def test_a_folder_that_nobody_took_checksums_of_is_read_to_its_end(broken):
    folder = broken(lambda folder: None)
    (folder / "manifest.json").unlink()
    shutil.copy(folder / "model.skops", folder / "whole")
    whole = (folder / "whole").read_bytes()
    for size in range(0, len(whole) - 1, max(len(whole) // 23, 1)):
        (folder / "model.skops").write_bytes(whole[:size])
        with pytest.raises(Corrupted):
            load(folder)


@pytest.mark.parametrize(("change", "error", "says"), BROKEN, ids=[change.__name__ for change, _, _ in BROKEN])
def test_a_broken_model_takes_no_alias_and_the_server_stays_up(
    serve, deploy_digits, database_url, registry, rows, broken, change, error, says
):
    from functools import partial

    from learnloop.database import session
    from learnloop.models.deployment import wait_until_served

    folders = {1: registry / "digits" / "1", 2: broken(change)}
    server = serve(source_of=lambda name, version: folders[version])
    wait_until_served(partial(session, database_url), *deploy_digits(1), timeout=15)
    with pytest.raises(Conflict, match=says):
        wait_until_served(partial(session, database_url), *deploy_digits(2), timeout=15)
    with ModelClient(server.url) as client:
        assert client.infer("digits", rows).model_version == 1


def test_each_request_is_a_line_in_the_log_if_wanted(serve, deploy_digits, rows, caplog):
    deploy_digits(1)
    server = serve(access_log=True)
    with caplog.at_level("INFO", logger="learnloop.serving.access"), ModelClient(server.url) as client:
        client.infer("digits", rows)
        httpx.post(f"{server.url}/v2/models/letters/infer", content=b"{}", headers={"X-Request-Id": "r-7"})
    lines = [json.loads(record.message) for record in caplog.records if record.name == "learnloop.serving.access"]
    assert [(line["model"], line["version"], line["rows"], line["status"]) for line in lines] == [
        ("digits", "1", 10, 200),
        ("", "", 0, 404),
    ]
    assert lines[1]["request_id"] == "r-7"
    assert all(line["ms"] > 0 for line in lines)
