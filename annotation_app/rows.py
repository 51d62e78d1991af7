"""A sample that is one row of a table: names and values, in their order. Pure."""

from __future__ import annotations

import csv
import io
import json

from learnloop.errors import InvalidInput

DELIMITERS = {"text/csv": ",", "text/tab-separated-values": "\t"}
JSON = "application/json"


def is_row(content_type: str) -> bool:
    return content_type in DELIMITERS or content_type == JSON


def row(content: bytes, content_type: str) -> list[tuple[str, str]]:
    """The fields of a row: a line of names and a line of values (CSV, TSV), or a JSON object.

    Raises:
        InvalidInput: the bytes are not UTF-8, or not one row.
    """
    try:
        words = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"this sample is no row that can be shown: byte {error.start} is not UTF-8") from error
    return _object(words) if content_type == JSON else _lines(words, DELIMITERS[content_type])


def _object(words: str) -> list[tuple[str, str]]:
    try:
        found = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"this sample is no row that can be shown: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput("this sample is no row that can be shown: it must be one JSON object, name: value")
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in found.items()
    ]


def _lines(words: str, delimiter: str) -> list[tuple[str, str]]:
    try:
        lines = [line for line in csv.reader(io.StringIO(words, newline=""), delimiter=delimiter, strict=True) if line]
    except csv.Error as error:
        raise InvalidInput(f"this sample is no row that can be shown: {error}") from error
    if len(lines) != 2:
        raise InvalidInput(
            f"this sample is no row that can be shown: a line of names and a line of values, not {len(lines)} lines"
        )
    names, values = lines
    if len(names) != len(values):
        raise InvalidInput(f"this sample is no row that can be shown: {len(names)} names, {len(values)} values")
    return list(zip(names, values, strict=True))
