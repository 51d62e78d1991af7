"""Open Inference Protocol v2: a request to features or samples, probabilities to a response; JSON and binary tensors.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from learnloop.errors import InvalidInput
from learnloop.serving import tensors
from learnloop.serving.models import LoadedVersion
from learnloop.serving.tensors import INPUT, MAX_ROWS, SAMPLE, shown

__all__ = ["EXTENSIONS", "INPUT", "MAX_ROWS", "SAMPLE", "InferRequest", "format_response", "metadata", "parse_request"]

OUTPUTS = ("probabilities", "label")
EXTENSIONS = ["binary_tensor_data", "model_repository"]


@dataclass(slots=True)
class InferRequest:
    """What is asked.

    Attributes:
        features: ``[n, d]``; None when samples are given.
        samples: the files' bytes of ``n`` samples, which the model's recipe reads; None when features are given.
        outputs: the outputs wanted, each with whether it is wanted as binary data.
        record: whether it may be noted (`learnloop.serving.live`), as far as its dataset wants that.
    """

    features: NDArray[Any] | None
    samples: list[bytes] | None
    id: str | None
    outputs: dict[str, bool]
    record: bool = True

    @property
    def rows(self) -> int:
        return len(self.features) if self.features is not None else len(self.samples or ())


def parse_request(
    body: bytes, input_size: int, *, json_size: int | None = None, takes: str | None = None
) -> InferRequest:
    """Read an inference request for a model of ``input_size`` features.

    Args:
        json_size: how many bytes of ``body`` are JSON, the rest being binary tensor data; None: all of it.
        takes: the task type of the model's samples; None when it knows no recipe and takes features alone.

    Raises:
        InvalidInput: it is not JSON, or not a request that such a model can answer.
    """
    if json_size is not None and json_size > len(body):
        raise InvalidInput(f"Inference-Header-Content-Length is {json_size}; the body has {len(body)} bytes")
    try:
        asked = orjson.loads(body if json_size is None else body[:json_size])
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from error
    inputs = asked.get("inputs") if isinstance(asked, dict) else None
    if not isinstance(inputs, list) or not inputs or any(not isinstance(tensor, dict) for tensor in inputs):
        raise _one_input(takes)
    identity = asked.get("id")
    if identity is not None and not isinstance(identity, str):
        raise InvalidInput(f"'id' is {shown(identity)}; it must be a string")
    given = _with_data(inputs, memoryview(body)[json_size:] if json_size is not None else None)
    outputs = _parse_outputs(asked.get("outputs"), _flag(asked, "binary_data_output"))
    record = _flag(asked, "record", True)
    names = [tensor.get("name") for tensor in inputs]
    if names == [INPUT]:
        return InferRequest(tensors.features(*given[0], input_size), None, identity, outputs, record)
    if takes is not None and names == [SAMPLE]:
        return InferRequest(None, tensors.samples(*given[0]), identity, outputs, record)
    if takes == "tabular_classification" and not {INPUT, SAMPLE} & set(map(str, names)):
        return InferRequest(None, tensors.rows_of_columns(given), identity, outputs, record)
    if len(inputs) != 1:
        raise _one_input(takes)
    raise InvalidInput(f"the input tensor is named {shown(names[0])}; it must be named {_accepted(takes)}")


def format_response(
    loaded: LoadedVersion, asked: InferRequest, probabilities: NDArray[np.float32]
) -> tuple[bytes, int | None]:
    """The response for ``probabilities`` ``[n, k]`` of one version; tensors are flat, row-major.

    Returns the body, and how many bytes of it are JSON where binary data follows; None: all of it.
    """
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name, as_binary in asked.outputs.items():
        if name == "label":
            labels = [loaded.classes[index] for index in probabilities.argmax(axis=1).tolist()]
            output: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": [len(labels)]}
            content: Any = tensors.byte_strings(labels) if as_binary else labels
        else:
            output = {"name": name, "datatype": "FP32", "shape": list(probabilities.shape)}
            content = probabilities.astype("<f4", copy=False).tobytes() if as_binary else probabilities.ravel()
        if as_binary:
            binary.append(content)
        output |= {"parameters": {"binary_data_size": len(content)}} if as_binary else {"data": content}
        outputs.append(output)
    response: dict[str, Any] = {"model_name": loaded.name, "model_version": str(loaded.version), "outputs": outputs}
    if asked.id is not None:
        response["id"] = asked.id
    text = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([text, *binary]), len(text)) if binary else (text, None)


def metadata(loaded: LoadedVersion, versions: list[int]) -> dict[str, Any]:
    """The model's metadata; ``parameters.classes`` names the columns of ``probabilities``.

    ``parameters.sample`` says what an element of the input ``sample`` is; a request has either that or ``features``.
    """
    inputs: list[dict[str, Any]] = [{"name": INPUT, "datatype": "FP32", "shape": [-1, loaded.input_size]}]
    parameters: dict[str, Any] = {"version": str(loaded.version), "classes": list(loaded.classes)}
    if loaded.takes is not None:
        inputs.append({"name": SAMPLE, "datatype": "BYTES", "shape": [-1], "optional": True})
        inputs[0]["optional"] = True
        parameters["sample"] = loaded.takes
    return {
        "name": loaded.name,
        "versions": [str(version) for version in versions],
        "platform": "sklearn_skops",
        "inputs": inputs,
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(loaded.classes)]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
        "parameters": parameters,
    }


def _with_data(
    inputs: list[dict[str, Any]], binary: memoryview | None
) -> list[tuple[dict[str, Any], memoryview | None]]:
    """Each input with its part of the binary data; None where its data is in the JSON.

    Raises:
        InvalidInput: the sizes that the inputs name are not those of the data.
    """
    given: list[tuple[dict[str, Any], memoryview | None]] = []
    place = 0
    for tensor in inputs:
        parameters = tensor.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            given.append((tensor, None))
            continue
        left = 0 if binary is None else len(binary) - place
        if type(size) is not int or not 0 <= size <= left or binary is None:
            raise InvalidInput(
                f"the binary_data_size of {shown(tensor.get('name'))} is {shown(size)}; {left} bytes are left after the"
                " JSON, whose size the header Inference-Header-Content-Length gives"
            )
        given.append((tensor, binary[place : place + size]))
        place += size
    if binary is not None and place != len(binary):
        raise InvalidInput(f"{len(binary) - place} bytes follow the JSON and the binary data that the inputs name")
    return given


def _parse_outputs(outputs: Any, as_binary: bool) -> dict[str, bool]:
    if not outputs:
        return dict.fromkeys(OUTPUTS, as_binary)
    listed = outputs if isinstance(outputs, list) else [None]
    found = {
        str(output.get("name")): _flag(output, "binary_data", as_binary)
        for output in listed
        if isinstance(output, dict)
    }
    if len(found) != len(listed) or not found.keys() <= set(OUTPUTS):
        raise InvalidInput(f"'outputs' is {shown(outputs)}; it may name {' and '.join(map(repr, OUTPUTS))}")
    return {name: found[name] for name in OUTPUTS if name in found}


def _flag(asked: dict[str, Any], name: str, default: bool = False) -> bool:
    parameters = asked.get("parameters")
    value = parameters.get(name) if isinstance(parameters, dict) else None
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInput(f"the parameter {name!r} is {shown(value)}; it must be true or false")
    return value


def _one_input(takes: str | None) -> InvalidInput:
    return InvalidInput(
        f'the request needs exactly one input tensor: {{"inputs": [{{"name": {_accepted(takes)}, ...}}]}}'
    )


def _accepted(takes: str | None) -> str:
    if takes is None:
        return repr(INPUT)
    also = ", or as the columns of the table" if takes == "tabular_classification" else ""
    return f"{INPUT!r} or {SAMPLE!r}{also}"
