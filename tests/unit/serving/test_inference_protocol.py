from __future__ import annotations

import numpy as np
import orjson
import pytest

from learnloop.errors import InvalidInput
from learnloop.serving.protocol import format_response, parse_request

GOOD = {"name": "features", "datatype": "FP32", "shape": [2, 3], "data": [1, 2.5, 3, 4, 5, 6]}


def body(**changes):
    return orjson.dumps({"inputs": [{**GOOD, **changes}]})


@pytest.mark.parametrize("data", [GOOD["data"], [[1, 2.5, 3], [4, 5, 6]]], ids=["flat", "nested"])
@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", np.float32), ("FP64", np.float64)])
def test_features_keep_their_order_and_dtype(data, datatype, dtype):
    asked = parse_request(body(data=data, datatype=datatype), input_size=3)
    assert asked.features.dtype == dtype
    assert asked.features.tolist() == [[1, 2.5, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1]", "exactly one input"),
        (b"{}", "exactly one input"),
        (orjson.dumps({"inputs": [GOOD, GOOD]}), "exactly one input"),
        (orjson.dumps({"inputs": [GOOD], "id": 3}), "'id' is 3"),
        (orjson.dumps({"inputs": [GOOD], "outputs": [{"name": "logits"}]}), "'probabilities' and 'label'"),
        (orjson.dumps({"inputs": [GOOD], "outputs": "label"}), "'probabilities' and 'label'"),
        (body(name="pixels"), "named 'pixels'"),
        (body(datatype="INT8"), "FP32, FP64"),
        (body(datatype=[]), "FP32, FP64"),
        (body(shape=[2, 4]), r"must be \[rows, 3\]"),
        (body(shape=[6]), r"must be \[rows, 3\]"),
        (body(shape=[2.0, 3]), r"must be \[rows, 3\]"),
        (body(shape=[True, 3]), r"must be \[rows, 3\]"),
        (body(shape=[0, 3], data=[]), "at least 1 row"),
        (body(shape=[-1, 3]), "at least 1 row"),
        (body(shape=[10_001, 3]), "at most 10000"),
        (body(data=[1, 2, 3]), "holds 3 numbers"),
        (body(data=[]), "holds 0 numbers"),
        (body(data=None), "must be a list"),
        (body(data="AAAA"), "must be a list"),
        (body(data=[[1, 2, 3], [4, 5]]), "2 lists of 3"),
        (body(data=[[1, 2, 3], 4, 5, 6]), "2 lists of 3"),
        (body(data=[1, 2, 3, 4, "5", 6]), "row 1, column 1 is '5'"),
        (body(data=[1, None, 3, 4, 5, 6]), "row 0, column 1 is None"),
        (body(data=[1, 2, 3, 4, 5, True]), "row 1, column 2 is True"),
        (body(data=[1, 2, 3, 1e39, 5, 6]), "row 1, column 0 is 1e[+]39; it must be a finite FP32"),
        (body().replace(b"2.5", b"NaN"), "not valid JSON"),
        (body().replace(b"2.5", b"Infinity"), "not valid JSON"),
        (body().replace(b"2.5", b"1e999"), "finite|not valid JSON"),
    ],
)
def test_a_bad_request_is_refused_with_its_fault(bad, says):
    with pytest.raises(InvalidInput, match=says):
        parse_request(bad, input_size=3)


def test_the_response_has_both_outputs_and_echoes_the_id(loaded):
    asked = parse_request(orjson.dumps({"inputs": [GOOD], "id": "42"}), input_size=3)
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    assert orjson.loads(format_response(loaded, asked, probabilities)[0]) == {
        "model_name": "coins",
        "model_version": "7",
        "id": "42",
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.25, 0.75, 0.5, 0.5]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["yes", "no"]},
        ],
    }


def test_only_the_outputs_asked_for_are_answered(loaded):
    asked = parse_request(orjson.dumps({"inputs": [GOOD], "outputs": [{"name": "label"}]}), input_size=3)
    answer = orjson.loads(format_response(loaded, asked, loaded.predict(asked.features))[0])
    assert [output["name"] for output in answer["outputs"]] == ["label"]
