"""Requests made from the OpenAPI document: one that is well formed for each operation, and each of its strings replaced."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

FILE = b"\x00any bytes"
"""The body of a request that brings a file."""
Where = tuple[str | int, ...]


@dataclass
class Made:
    """A request. ``strings`` are the places of its texts: ``("path", "name")``, ``("body", "answers", 0)``."""

    method: str
    path: str
    values: dict[str, Any] = field(default_factory=lambda: {"path": {}, "query": {}, "header": {}, "body": None})
    strings: list[Where] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.values}"

    def having(self, where: Where, text: str) -> Made:
        """The same with another text at ``where``."""
        values = copy.deepcopy(self.values)
        inner = values
        for step in where[:-1]:
            inner = inner[step]
        inner[where[-1]] = text
        return Made(self.method, self.path, values, self.strings)

    @property
    def arguments(self) -> dict[str, Any]:
        """For ``httpx.Client.request``."""
        path = self.path
        for name, value in self.values["path"].items():
            path = path.replace("{" + name + "}", _part(str(value)))
        query = {name: str(value) for name, value in self.values["query"].items()}
        headers = {name: str(value) for name, value in self.values["header"].items()}
        url = f"{path}?{urlencode(query, errors='surrogatepass')}" if query else path
        made = {"method": self.method, "url": url, "headers": headers}
        if self.values["body"] is None:
            return made
        if self.values["body"] == FILE:
            return {**made, "headers": {**headers, "Content-Type": "application/octet-stream"}, "content": FILE}
        content = json.dumps(self.values["body"])  # ASCII, so that it can say half a character too
        return {**made, "headers": {**headers, "Content-Type": "application/json"}, "content": content}


def requests_of(document: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Made]:
    """One for each operation of ``document``.

    Args:
        known: what to give for a parameter or field of some name, the last part of the path first
            (``{"versions.name": ...}`` before ``{"name": ...}``).
    """
    for path, operations in document["paths"].items():
        area = path.split("/")[1]
        for method, operation in operations.items():
            made = Made(method.upper(), path)
            for parameter in operation.get("parameters", ()):
                place, name, schema = parameter["in"], parameter["name"], parameter["schema"]
                made.values[place][name] = _value(document, schema, name, area, known)
                if _kind(document, schema) == "string":
                    made.strings.append((place, name))
            body = operation.get("requestBody")
            if body and "application/json" not in body["content"]:
                made.values["body"] = FILE
            elif body:
                schema = body["content"]["application/json"]["schema"]
                made.values["body"] = _value(document, schema, "", area, known)
                made.strings += _strings(made.values["body"], ("body",))
            yield made


def _value(
    document: Mapping[str, Any], schema: Mapping[str, Any], name: str, area: str, known: Mapping[str, Any]
) -> Any:
    for key in (f"{area}.{name}", name):
        if key in known:
            return known[key]
    schema = _resolved(document, schema)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        fields = schema.get("properties", {})
        return {each: _value(document, inner, each, area, known) for each, inner in fields.items()}
    if kind == "array":
        return [_value(document, schema["items"], name, area, known)]
    if kind == "string":
        return "2026-01-01T00:00:00Z" if schema.get("format") == "date-time" else "x"
    if "default" in schema:
        return schema["default"]
    return {"integer": 1, "number": 1.0, "boolean": False, "null": None}[kind]


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return str(_resolved(document, schema).get("type"))


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        else:
            schema = schema["anyOf"][0]
    return schema


def _strings(value: Any, where: Where) -> list[Where]:
    if isinstance(value, str):
        return [where]
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _strings(inner, (*where, key))]
    if isinstance(value, list):
        return [found for key, inner in enumerate(value) for found in _strings(inner, (*where, key))]
    return []


def _part(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass") if text.strip(".") else "%2E" * len(text)
