"""The HTTP API's reference, from its OpenAPI document.

Extensions for Sphinx that render such documents show no bodies and no answers; here each operation names its right, its
parameters, its body, its answer, and those errors that not every operation may end with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_INTRODUCTION = """# HTTP API

Everything is below `/learnloop/api/v1`. [The HTTP API, for who writes a client](../http-api.md) says what all operations
have in common: tokens, errors, lists, `Idempotency-Key`. Any of them may answer 401, 403, 408, 413, 429, 500 or 503.
This page is made from the OpenAPI document, which a running server gives too: {download}`openapi.json`.
"""
_OFTEN = {"401", "403", "408", "413", "429", "500", "503"}


def page(document: Schema) -> str:
    """Markdown."""
    areas: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            areas.setdefault(path.split("/")[1], []).append("\n".join(_operation(method, path, operation)))
    parts = [_INTRODUCTION]
    for area in sorted(areas):
        parts += [f"## {area}\n", *areas[area]]
    parts.append("## Bodies and answers\n")
    schemas = document["components"]["schemas"]
    parts += ["\n".join(_schema(name, schemas[name])) for name in sorted(schemas)]
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n"
    yield f"{_text(operation.get('description', ''))}\n"
    yield f"Needs `{operation['x-permission']}`.\n"
    parameters = operation.get("parameters", ())
    if parameters:
        yield "| parameter | in | type | |\n|---|---|---|---|"
        for one in parameters:
            needed = "required. " if one.get("required") and one["in"] != "path" else ""
            said = _cell(needed + one.get("description", one["schema"].get("description", "")))
            yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {said} |"
        yield ""
    if "requestBody" in operation:
        yield f"Body: {_content(operation['requestBody'])}\n"
    good = [(status, answer) for status, answer in operation["responses"].items() if status < "400"]
    bad = [status for status in operation["responses"] if status >= "400" and status not in _OFTEN]
    for status, answer in good:
        yield f"Answers {status}: {_content(answer) or 'nothing'}\n"
    if bad:
        yield f"Or {', '.join(bad)}.\n"


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield f"{_text(schema['description'])}\n"
    if "properties" not in schema:
        yield f"{_type(schema)}\n"
        return
    required = schema.get("required", ())
    yield "| field | type | |\n|---|---|---|"
    for field, inner in schema["properties"].items():
        said = [] if field in required else ["may be left out"]
        if inner.get("default") is not None:
            said = [f"default `{inner['default']}`"]
        said += [inner["description"]] if "description" in inner else []
        yield f"| `{field}` | {_type(inner)} | {_cell('; '.join(said))} |"
    yield ""


def _content(holder: Schema) -> str:
    return " or ".join(
        f"{_type(each.get('schema', {}))} (`{kind}`)" for kind, each in holder.get("content", {}).items()
    )


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(_type(one) for one in schema[key])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    if kind == "object" and "properties" in schema:
        return "object with " + ", ".join(f"`{name}`: {_type(one)}" for name, one in schema["properties"].items())
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("maximum", "to"), ("minLength", "at least"), ("maxLength", "at most"))
        if key in schema
    ]
    unit = " characters" if kind == "string" and bounds else ""
    return " ".join([str(schema.get("format", kind)), *bounds]) + unit


def _text(docstring: str) -> str:
    return re.sub(r"``([^`]+)``", r"`\1`", docstring).strip()


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|").replace("\n", " ")
