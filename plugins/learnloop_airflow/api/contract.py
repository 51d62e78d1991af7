"""The OpenAPI document: what every route has in common."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from learnloop_airflow.api.problems import MEDIA_TYPE

SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of Airflow's (POST /auth/token)."},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "_token",
        "description": "A browser's, after Airflow's login.",
    },
}
_PROBLEM = {
    "title": "ProblemDocument",
    "description": "RFC 9457. `detail` says what is wrong, where, and what would be right; `type` is for programs.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:learnloop:problem:[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "problems": {"type": "array", "items": {"type": "string"}},
    },
}
_WORDS = {
    401: "No token, or one that has ended",
    403: "A role that grants this is needed, or it is somebody else's",
    404: "There is no such thing for the caller",
    408: "The body did not arrive in time",
    409: "It changed since the caller looked",
    410: "The lease has lapsed",
    412: "It is not as If-Match says",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "What was given is wrong",
    423: "Somebody else holds the lock",
    429: "Too many requests; Retry-After says when to come again",
    500: "Something went wrong here, such as damaged data",
    503: "A part that is needed does not answer",
    507: "A disk is full",
}

_lines: dict[str, Any] = {}


def statuses_of(*, path: bool, given: bool, body: bool) -> tuple[int, ...]:
    """The errors that any route may end with.

    Args:
        path: it has parameters in its path. given: it has parameters or a body. body: it has a body.
    """
    return (401, 403, 408, 413, 429, 500, 503, *(404,) * path, *(422,) * given, *(415,) * body)


def problems_of(statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    """Entries of the OpenAPI document for errors, by status."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": _WORDS[status], "content": content} for status in sorted(set(statuses))}


def lines_of(result: Any) -> dict[str, Any]:
    """The schema of one line of a streamed answer, the last of which may hold a ``result``."""
    name = f"{result.__module__.rpartition('.')[2].title()}{result.__name__}"
    _lines[name] = result
    return {"$ref": f"#/components/schemas/LineOf{name}"}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of ``app``."""
    made = get_openapi(title=app.title, version=app.version, routes=app.routes, openapi_version="3.1.0")
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemDocument"] = _PROBLEM
    for name, result in _lines.items():
        # Under names of their own: two modules may call different things the same.
        refs = f"#/components/schemas/{name}{{model}}"
        schema = TypeAdapter(result).json_schema(mode="serialization", ref_template=refs)
        schemas.update({f"{name}{inner}": found for inner, found in schema.pop("$defs", {}).items()})
        schemas[name] = schema
        schemas[f"LineOf{name}"] = {
            "title": f"LineOf{name}",
            "oneOf": [
                {
                    "type": "object",
                    "required": ["done", "total"],
                    "properties": {"done": {"type": "integer"}, "total": {"type": "integer"}},
                },
                {
                    "type": "object",
                    "required": ["result"],
                    "properties": {"result": {"$ref": f"#/components/schemas/{name}"}},
                },
                {
                    "type": "object",
                    "required": ["problem"],
                    "properties": {"problem": {"$ref": "#/components/schemas/ProblemDocument"}},
                },
            ],
        }
    made["components"]["securitySchemes"] = _SCHEMES
    for operations in made["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                _drop_null(parameter["schema"])
    return made


def _drop_null(schema: dict[str, Any]) -> None:
    """An optional parameter of a path, query or header is left out; it has no way to say null."""
    kinds = schema.pop("anyOf", None)
    if kinds is not None:
        (kind,) = (kind for kind in kinds if kind != {"type": "null"})
        schema.update(kind)
