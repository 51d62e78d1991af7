"""Input tensors to arrays: rows of features, or samples as their files' bytes; from JSON and from binary data."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnloop.errors import InvalidInput

MAX_ROWS = 10_000
INPUT = "features"
SAMPLE = "sample"
DTYPES: dict[Any, type[np.floating[Any]]] = {"FP32": np.float32, "FP64": np.float64}
COLUMN_DTYPES = {
    **{"FP32": "<f4", "FP64": "<f8", "BOOL": "?"},
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
}
"""What a column of numbers may be sent as; a column of categories is BYTES."""
BASE64 = "base64"
LARGEST = float(np.finfo(np.float32).max)
_LENGTH = struct.Struct("<I")


def features(tensor: dict[str, Any], raw: bytes | memoryview | None, input_size: int) -> NDArray[Any]:
    """The rows ``[n, input_size]`` of the tensor ``features``, float32 or float64, all finite.

    Args:
        raw: the tensor's binary data; None when its ``data`` is in the JSON.

    Raises:
        InvalidInput: another shape or datatype, or a number that is not finite; the message says where.
    """
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise InvalidInput(f"the datatype of {INPUT!r} is {shown(datatype)}; it must be one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or [type(size) for size in shape] != [int, int]:
        raise InvalidInput(f"the shape of {INPUT!r} is {shown(shape)}; it must be [rows, {input_size}]")
    rows, columns = shape
    if columns != input_size or rows < 1:
        raise InvalidInput(f"the shape of {INPUT!r} is {shape}; it must be [rows, {input_size}] with at least 1 row")
    check_rows(rows)
    if raw is not None:
        found = _from_bytes(raw, np.dtype(dtype).newbyteorder("<"), rows * columns, INPUT)
        return _finite(found.astype(dtype, copy=False), found, datatype, columns).reshape(rows, columns)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise InvalidInput(f"the data of {INPUT!r} is {shown(data)}; it must be a list of numbers, row by row")
    numbers = _flatten(data, rows, columns)
    if len(numbers) != rows * columns:
        raise InvalidInput(f"the data of {INPUT!r} holds {len(numbers)} numbers; shape {shape} has {rows * columns}")
    # numpy would take true for 1.0 and "1.5" for 1.5, so look at the types first.
    if not set(map(type, numbers)) <= {float, int}:
        index = next(i for i, number in enumerate(numbers) if type(number) not in (float, int))
        raise InvalidInput(f"{_place(index, columns)} is {shown(numbers[index])}; it must be a finite number")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is refused next
        array: NDArray[Any] = np.array(numbers, dtype=dtype)
    return _finite(array, numbers, datatype, columns).reshape(rows, columns)


def samples(tensor: dict[str, Any], raw: bytes | memoryview | None) -> list[bytes]:
    """The files' bytes of the tensor ``sample``: BYTES ``[n]`` (or ``[n, 1]``).

    In JSON an element is text, or base64 where the tensor's ``parameters`` say ``{"content_type": "base64"}``.

    Raises:
        InvalidInput: it is none.
    """
    rows = _one_column(tensor, SAMPLE)
    if tensor.get("datatype") != "BYTES":
        raise InvalidInput(f"the datatype of {SAMPLE!r} is {shown(tensor.get('datatype'))}; it must be BYTES")
    if raw is not None:
        return _byte_strings(raw, rows, SAMPLE)
    parameters = tensor.get("parameters")
    encoded = isinstance(parameters, dict) and parameters.get("content_type") == BASE64
    found = []
    for index, element in enumerate(_elements(tensor, rows, SAMPLE)):
        if not isinstance(element, str):
            raise InvalidInput(f"element {index} of {SAMPLE!r} is {shown(element)}; it must be text, or base64 text")
        try:
            found.append(base64.b64decode(element, validate=True) if encoded else element.encode())
        except (binascii.Error, UnicodeEncodeError) as error:
            raise InvalidInput(
                f"element {index} of {SAMPLE!r} is no {'base64' if encoded else 'text'}: {error}"
            ) from error
    return found


def rows_of_columns(inputs: Sequence[tuple[dict[str, Any], bytes | memoryview | None]]) -> list[bytes]:
    """The rows of a table given column by column, each as the JSON object that a row's file holds.

    A ``null`` in a column's JSON data is a value that is missing. Whether the columns are those of the model is for its
    recipe to say.

    Raises:
        InvalidInput: a column is there twice, is not ``[n]`` or ``[n, 1]``, or another length than the first.
    """
    columns: dict[str, list[Any]] = {}
    first = ""
    for tensor, raw in inputs:
        name = tensor.get("name")
        if not isinstance(name, str) or name in columns:
            raise InvalidInput(
                f"the input tensor is named {shown(name)}; each column must have a name, and be there once"
            )
        rows = _one_column(tensor, name)
        first = first or name
        if columns and rows != len(columns[first]):
            raise InvalidInput(f"column {name!r} has {rows} rows, and column {first!r} has {len(columns[first])}")
        columns[name] = _column(tensor, raw, rows, name)
    return [json.dumps(dict(zip(columns, row, strict=True))).encode() for row in zip(*columns.values(), strict=True)]


def check_rows(rows: int) -> None:
    if rows > MAX_ROWS:
        raise InvalidInput(f"the request has {rows} rows; at most {MAX_ROWS} are answered at once: split it")


def byte_strings(values: Sequence[str]) -> bytes:
    """BYTES elements as binary data: each with its length before it."""
    return b"".join(_LENGTH.pack(len(data)) + data for data in (value.encode() for value in values))


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _column(tensor: dict[str, Any], raw: bytes | memoryview | None, rows: int, name: str) -> list[Any]:
    datatype = tensor.get("datatype")
    if datatype != "BYTES" and (not isinstance(datatype, str) or datatype not in COLUMN_DTYPES):
        known = ", ".join((*COLUMN_DTYPES, "BYTES"))
        raise InvalidInput(f"the datatype of column {name!r} is {shown(datatype)}; it must be one of {known}")
    if raw is None:
        return _elements(tensor, rows, name)
    if datatype == "BYTES":
        try:
            return [element.decode() for element in _byte_strings(raw, rows, name)]
        except UnicodeDecodeError as error:
            raise InvalidInput(f"column {name!r} is not UTF-8 text: {error}") from error
    found = _from_bytes(raw, np.dtype(COLUMN_DTYPES[datatype]), rows, name)
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        index = int(np.isfinite(found).argmin())
        raise InvalidInput(f"column {name!r} at row {index} is {found[index]}; it must be a finite number")
    listed: list[Any] = found.tolist()
    return listed


def _one_column(tensor: dict[str, Any], name: str) -> int:
    shape = tensor.get("shape")
    sizes = shape if isinstance(shape, list) and all(type(size) is int for size in shape) else []
    if not sizes or sizes[0] < 1 or sizes[1:] not in ([], [1]):
        raise InvalidInput(f"the shape of {name!r} is {shown(shape)}; it must be [rows] with at least 1 row")
    check_rows(sizes[0])
    return int(sizes[0])


def _elements(tensor: dict[str, Any], rows: int, name: str) -> list[Any]:
    data = tensor.get("data")
    if not isinstance(data, list):
        raise InvalidInput(f"the data of {name!r} is {shown(data)}; it must be a list of {rows} elements")
    if data and type(data[0]) is list:
        data = _flatten(data, rows, 1)
    if len(data) != rows:
        raise InvalidInput(f"the data of {name!r} holds {len(data)} elements; its shape has {rows}")
    return data


def _from_bytes(raw: bytes | memoryview, dtype: np.dtype[Any], count: int, name: str) -> NDArray[Any]:
    if len(raw) != count * dtype.itemsize:
        raise InvalidInput(
            f"the binary data of {name!r} has {len(raw)} bytes; its shape and datatype have {count * dtype.itemsize}"
        )
    return np.frombuffer(raw, dtype=dtype)


def _byte_strings(raw: bytes | memoryview, rows: int, name: str) -> list[bytes]:
    found, place = [], 0
    for index in range(rows):
        if place + _LENGTH.size > len(raw):
            raise InvalidInput(f"the binary data of {name!r} ends before element {index} of {rows}")
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size
        if length > len(raw) - place:
            raise InvalidInput(f"element {index} of {name!r} shall have {length} bytes; {len(raw) - place} are left")
        found.append(bytes(raw[place : place + length]))
        place += length
    if place != len(raw):
        raise InvalidInput(f"the binary data of {name!r} has {len(raw) - place} bytes after its last element")
    return found


def _finite(array: NDArray[Any], given: Any, datatype: Any, columns: int) -> NDArray[Any]:
    # Features are single precision: a larger number would only overflow in the model.
    finite = np.abs(array) <= LARGEST
    if not finite.all():
        index = int(finite.argmin())
        value = given[index] if isinstance(given, list) else float(given[index])
        raise InvalidInput(
            f"{_place(index, columns)} is {shown(value)}; it must be a finite {datatype} number, at most {LARGEST:.3g}"
        )
    return array


def _flatten(data: list[Any], rows: int, columns: int) -> list[Any]:
    if not data or type(data[0]) is not list:
        return data
    if len(data) != rows or any(type(row) is not list or len(row) != columns for row in data):
        raise InvalidInput(f"the nested data must be {rows} lists of {columns} each")
    return list(chain.from_iterable(data))


def _place(index: int, columns: int) -> str:
    return f"{INPUT!r} at row {index // columns}, column {index % columns}"
