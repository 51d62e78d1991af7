"""Open Inference Protocol v2: a request's JSON to features, probabilities to a response's JSON.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from learnloop.errors import InvalidInput
from learnloop.serving.models import LoadedVersion

MAX_ROWS = 10_000
INPUT = "features"
OUTPUTS = ("probabilities", "label")
DTYPES: dict[Any, type[np.floating[Any]]] = {"FP32": np.float32, "FP64": np.float64}


@dataclass(slots=True)
class InferRequest:
    """What is asked: ``features`` ``[n, d]``, the request's id, the outputs wanted."""

    features: NDArray[Any]
    id: str | None
    outputs: tuple[str, ...]


def parse_request(body: bytes, input_size: int) -> InferRequest:
    """Read an inference request for a model of ``input_size`` features.

    Raises:
        InvalidInput: it is not JSON, or not a request that such a model can answer.
    """
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from error
    inputs = asked.get("inputs") if isinstance(asked, dict) else None
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidInput(f'the request needs exactly one input tensor: {{"inputs": [{{"name": "{INPUT}", ...}}]}}')
    identity = asked.get("id")
    if identity is not None and not isinstance(identity, str):
        raise InvalidInput(f"'id' is {_shown(identity)}; it must be a string")
    return InferRequest(_parse_features(inputs[0], input_size), identity, _parse_outputs(asked.get("outputs")))


def format_response(loaded: LoadedVersion, asked: InferRequest, probabilities: NDArray[np.float32]) -> bytes:
    """The response's JSON for ``probabilities`` ``[n, k]`` of one version; tensors are flat, row-major."""
    rows = len(probabilities)
    outputs: list[dict[str, Any]] = []
    if "probabilities" in asked.outputs:
        shape = list(probabilities.shape)
        data = probabilities.ravel()
        outputs.append({"name": "probabilities", "datatype": "FP32", "shape": shape, "data": data})
    if "label" in asked.outputs:
        labels = [loaded.classes[index] for index in probabilities.argmax(axis=1).tolist()]
        outputs.append({"name": "label", "datatype": "BYTES", "shape": [rows], "data": labels})
    response: dict[str, Any] = {"model_name": loaded.name, "model_version": str(loaded.version), "outputs": outputs}
    if asked.id is not None:
        response["id"] = asked.id
    return orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)


def metadata(loaded: LoadedVersion, versions: list[int]) -> dict[str, Any]:
    """The model's metadata; ``parameters.classes`` names the columns of ``probabilities``."""
    return {
        "name": loaded.name,
        "versions": [str(version) for version in versions],
        "platform": "sklearn_skops",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, loaded.input_size]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(loaded.classes)]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
        "parameters": {"version": str(loaded.version), "classes": list(loaded.classes)},
    }


def _parse_features(tensor: dict[str, Any], input_size: int) -> NDArray[Any]:
    if tensor.get("name") != INPUT:
        raise InvalidInput(f"the input tensor is named {_shown(tensor.get('name'))}; it must be named {INPUT!r}")
    datatype, shape, data = tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise InvalidInput(f"the datatype of {INPUT!r} is {_shown(datatype)}; it must be one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or [type(size) for size in shape] != [int, int]:
        raise InvalidInput(f"the shape of {INPUT!r} is {_shown(shape)}; it must be [rows, {input_size}]")
    rows, columns = shape
    if columns != input_size or rows < 1:
        raise InvalidInput(f"the shape of {INPUT!r} is {shape}; it must be [rows, {input_size}] with at least 1 row")
    if rows > MAX_ROWS:
        raise InvalidInput(f"the request has {rows} rows; at most {MAX_ROWS} are answered at once: split it")
    if not isinstance(data, list):
        raise InvalidInput(f"the data of {INPUT!r} is {_shown(data)}; it must be a list of numbers, row by row")
    numbers = _flatten(data, rows, columns)
    if len(numbers) != rows * columns:
        raise InvalidInput(f"the data of {INPUT!r} holds {len(numbers)} numbers; shape {shape} has {rows * columns}")
    # numpy would take true for 1.0 and "1.5" for 1.5, so look at the types first.
    if not set(map(type, numbers)) <= {float, int}:
        index = next(i for i, number in enumerate(numbers) if type(number) not in (float, int))
        raise InvalidInput(f"{_place(index, columns)} is {_shown(numbers[index])}; it must be a finite number")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is refused next
        features: NDArray[Any] = np.array(numbers, dtype=dtype)
    finite = np.isfinite(features)
    if not finite.all():
        index = int(finite.argmin())
        raise InvalidInput(
            f"{_place(index, columns)} is {_shown(numbers[index])}; it must be a finite {datatype} number"
        )
    return features.reshape(rows, columns)


def _flatten(data: list[Any], rows: int, columns: int) -> list[Any]:
    if not data or type(data[0]) is not list:
        return data
    if len(data) != rows or any(type(row) is not list or len(row) != columns for row in data):
        raise InvalidInput(f"the nested data of {INPUT!r} must be {rows} lists of {columns} numbers each")
    return list(chain.from_iterable(data))


def _parse_outputs(outputs: Any) -> tuple[str, ...]:
    if not outputs:
        return OUTPUTS
    listed = outputs if isinstance(outputs, list) else [None]
    names = [str(output.get("name")) if isinstance(output, dict) else "" for output in listed]
    if not set(names) <= set(OUTPUTS):
        raise InvalidInput(f"'outputs' is {_shown(outputs)}; it may name {' and '.join(map(repr, OUTPUTS))}")
    return tuple(names)


def _place(index: int, columns: int) -> str:
    return f"{INPUT!r} at row {index // columns}, column {index % columns}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
