"""Classifiers in ONNX: converted by skl2onnx, or made of an operation or two."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def converted(pipeline: Any, features: int) -> bytes:
    """A fitted scikit-learn pipeline in ONNX."""
    from skl2onnx import to_onnx

    found: bytes = to_onnx(
        pipeline, np.zeros((1, features), dtype=np.float32), options={"zipmap": False}
    ).SerializeToString()
    return found


def graph(
    *,
    last: str = "Softmax",
    domain: str = "",
    rows: int | None = None,
    features: int = 3,
    kind: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("y",),
    weights_in: str | None = None,
    classes: Any = ("no", "yes"),
) -> Any:
    """``softmax(x W)`` of three features and two classes, or with what a test wants wrong."""
    weights = numpy_helper.from_array(np.arange(features * 2, dtype=np.float32).reshape(features, 2), "w")
    if weights_in is not None:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        place = weights.external_data.add()
        place.key, place.value = "location", weights_in
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
    ]
    nodes += [helper.make_node(last, ["z"], [name], domain=domain) for name in outputs]
    made = helper.make_graph(
        nodes,
        "coins",
        [helper.make_tensor_value_info("x", kind, [rows, features])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 2]) for name in outputs],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(made, opset_imports=opsets, ir_version=9)
    if classes is not None:
        helper.set_model_props(model, {"classes": classes if isinstance(classes, str) else json.dumps(list(classes))})
    return model
