"""Binary tensor data, samples, and columns of a table."""

from __future__ import annotations

import base64
import json
import struct

import numpy as np
import orjson
import pytest

from learnloop.errors import InvalidInput
from learnloop.serving.protocol import format_response, parse_request

ROWS = np.array([[1, 2, 3], [4, 5, 6]], dtype="<f4")


def binary(tensor, data, *, more=b"", **request):
    """A body with binary tensor data, and how much of it is JSON."""
    tensor = {**tensor, "parameters": {"binary_data_size": len(data)}}
    head = orjson.dumps({"inputs": [tensor], **request})
    return head + data + more, len(head)


def features(data, **changes):
    return binary({"name": "features", "datatype": "FP32", "shape": [2, 3], **changes}, data)


@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", "<f4"), ("FP64", "<f8")])
def test_binary_features_are_read_as_they_are(datatype, dtype):
    body, size = features(ROWS.astype(dtype).tobytes(), datatype=datatype)
    asked = parse_request(body, 3, json_size=size)
    assert asked.features.dtype == np.dtype(dtype)
    assert asked.features.tolist() == ROWS.tolist()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (features(ROWS.tobytes()[:-1]), "has 23 bytes; its shape and datatype have 24"),
        (features(ROWS.tobytes(), datatype="FP64"), "has 24 bytes; its shape and datatype have 48"),
        (features(ROWS.tobytes(), shape=[2, 4]), r"must be \[rows, 3\]"),
        (features(np.full((2, 3), np.nan, "<f4").tobytes()), "row 0, column 0 is nan"),
        (features(np.full((2, 3), -np.inf, "<f4").tobytes()), "row 0, column 0 is -inf"),
        (features(np.full((2, 3), 1e300, "<f8").tobytes(), datatype="FP64"), "row 0, column 0 is 1e[+]300"),
        ((features(ROWS.tobytes())[0], None), "not valid JSON"),
        ((features(ROWS.tobytes())[0], 10**6), "Inference-Header-Content-Length is 1000000; the body has"),
        ((features(ROWS.tobytes())[0], 5), "not valid JSON"),
        (
            binary({"name": "features", "datatype": "FP32", "shape": [2, 3]}, ROWS.tobytes(), more=b"xy"),
            "2 bytes follow",
        ),
    ],
)
def test_binary_data_that_does_not_fit_is_refused(body, says):
    with pytest.raises(InvalidInput, match=says):
        parse_request(body[0], 3, json_size=body[1])


@pytest.mark.parametrize("size", [-1, 25, "24", True, None])
def test_a_wrong_binary_size_is_refused(size):
    tensor = {"name": "features", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": size}}
    head = orjson.dumps({"inputs": [tensor]})
    with pytest.raises(InvalidInput):
        parse_request(head + ROWS.tobytes(), 3, json_size=len(head))


def test_the_outputs_asked_for_as_binary_come_so_and_the_others_as_json(loaded):
    body, size = features(
        ROWS.tobytes(),
    )
    asked = parse_request(body, 3, json_size=size)
    asked.outputs = {"probabilities": False, "label": True}
    content, json_size = format_response(loaded, asked, np.array([[0.25, 0.75], [1, 0]], dtype=np.float32))
    outputs = orjson.loads(content[:json_size])["outputs"]
    assert outputs[0]["data"] == [0.25, 0.75, 1, 0]
    assert outputs[1]["parameters"] == {"binary_data_size": 13}
    assert content[json_size:] == struct.pack("<I", 3) + b"yes" + struct.pack("<I", 2) + b"no"


def test_binary_data_output_asks_for_all_of_them():
    body, size = binary(
        {"name": "features", "datatype": "FP32", "shape": [2, 3]},
        ROWS.tobytes(),
        parameters={"binary_data_output": True},
        outputs=[{"name": "label", "parameters": {"binary_data": False}}, {"name": "probabilities"}],
    )
    assert parse_request(body, 3, json_size=size).outputs == {"probabilities": True, "label": False}
    with pytest.raises(InvalidInput, match="must be true or false"):
        parse_request(body.replace(b'"binary_data_output":true', b'"binary_data_output":1   '), 3, json_size=size)


def sample(**changes):
    return orjson.dumps(
        {"inputs": [{"name": "sample", "datatype": "BYTES", "shape": [2], "data": ["a", "b"], **changes}]}
    )


def test_samples_are_text_or_base64_or_binary():
    assert parse_request(sample(), 3, takes="text_classification").samples == [b"a", b"b"]
    encoded = [base64.b64encode(data).decode() for data in (b"\x00\xff", b"")]
    asked = sample(data=encoded, parameters={"content_type": "base64"})
    assert parse_request(asked, 3, takes="image_classification").samples == [b"\x00\xff", b""]
    data = struct.pack("<I", 2) + b"\x00\xff" + struct.pack("<I", 0)
    body, size = binary({"name": "sample", "datatype": "BYTES", "shape": [2]}, data)
    assert parse_request(body, 3, json_size=size, takes="image_classification").samples == [b"\x00\xff", b""]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (sample(datatype="FP32"), "must be BYTES"),
        (sample(shape=[2, 2]), r"must be \[rows\]"),
        (sample(shape=[]), r"must be \[rows\]"),
        (sample(shape=[0], data=[]), "at least 1 row"),
        (sample(shape=[10_001]), "at most 10000"),
        (sample(data=["a"]), "holds 1 elements; its shape has 2"),
        (sample(data=["a", 1]), "element 1 of 'sample' is 1"),
        (sample(data=["a", "%"], parameters={"content_type": "base64"}), "element 0 .* is no base64"),
    ],
)
def test_samples_that_are_none_are_refused(body, says):
    with pytest.raises(InvalidInput, match=says):
        parse_request(body, 3, takes="text_classification")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack("<I", 2) + b"a", "element 0 of 'sample' shall have 2 bytes; 1 are left"),
        (struct.pack("<I", 1) + b"a" + b"\0", "ends before element 1 of 2"),
        (struct.pack("<IcI", 1, b"a", 0)[:5] + struct.pack("<I", 0) + b"z", "1 bytes after its last element"),
    ],
)
def test_binary_elements_that_do_not_add_up_are_refused(data, says):
    body, size = binary({"name": "sample", "datatype": "BYTES", "shape": [2]}, data)
    with pytest.raises(InvalidInput, match=says):
        parse_request(body, 3, json_size=size, takes="text_classification")


def test_a_model_without_a_recipe_takes_no_samples():
    with pytest.raises(InvalidInput, match="is named 'sample'; it must be named 'features'"):
        parse_request(sample(), 3)


def columns(*inputs):
    return orjson.dumps({"inputs": [{"shape": [2], **one} for one in inputs]})


HEIGHT = {"name": "height", "datatype": "FP64", "data": [1.5, 2]}
COLOUR = {"name": "colour", "datatype": "BYTES", "data": ["red", None]}


def test_columns_become_the_rows_that_files_hold():
    asked = parse_request(columns(HEIGHT, {**COLOUR, "shape": [2, 1]}), 3, takes="tabular_classification")
    assert [json.loads(row) for row in asked.samples] == [
        {"height": 1.5, "colour": "red"},
        {"height": 2, "colour": None},
    ]


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ((HEIGHT, HEIGHT), "be there once"),
        ((HEIGHT, {**COLOUR, "shape": [1], "data": ["red"]}), "column 'colour' has 1 rows, and column 'height' has 2"),
        (({**HEIGHT, "datatype": "FP8"},), "must be one of FP32, FP64, BOOL, INT8"),
        (({**HEIGHT, "name": None},), "named None"),
        (({**HEIGHT, "shape": [2, 2]},), r"must be \[rows\]"),
    ],
)
def test_columns_that_do_not_fit_each_other_are_refused(inputs, says):
    with pytest.raises(InvalidInput, match=says):
        parse_request(columns(*inputs), 3, takes="tabular_classification")
