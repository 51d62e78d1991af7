"""Every error leaves as ``application/problem+json`` (RFC 9457) with a stable ``type``."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from learnloop.errors import BodyTooLarge, BodyTooSlow, LearnloopError, TooManyRequests

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


def document(status: int, type_: str, detail: str, problems: tuple[str, ...] | list[str] = ()) -> dict[str, Any]:
    """The content of a problem document."""
    body: dict[str, Any] = {
        "type": f"urn:learnloop:problem:{type_}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if problems:
        body["problems"] = list(problems)
    return body


def of_error(error: LearnloopError | None) -> dict[str, Any]:
    """The problem document of an error of ours; None: of one that nobody foresaw."""
    if error is None:
        return document(500, "internal", "something went wrong here; the API server's log says what")
    detail, *problems = str(error).split("\n  - ")
    return document(error.status, error.type, detail, problems)


def problem(status: int, type_: str, detail: str, problems: tuple[str, ...] | list[str] = ()) -> JSONResponse:
    return JSONResponse(document(status, type_, detail, problems), status_code=status, media_type=MEDIA_TYPE)


def answer_of(error: LearnloopError) -> JSONResponse:
    """An error of ours as the answer to a request."""
    headers = {}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(math.ceil(error.retry_after) or 1)
    if isinstance(error, (BodyTooLarge, BodyTooSlow)):
        headers["Connection"] = "close"  # what is left of the body is not read
    return JSONResponse(of_error(error), status_code=error.status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Turn every error that leaves ``app`` into a problem document."""

    @app.exception_handler(LearnloopError)
    async def ours(request: Request, error: LearnloopError) -> JSONResponse:
        return answer_of(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        return problem(422, "invalid-input", "the request is not valid", problems)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        answer = problem(error.status_code, kind, str(error.detail))
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(_allowed(request))
        return answer

    @app.exception_handler(OperationalError)
    async def no_database(request: Request, error: OperationalError) -> JSONResponse:
        _log.error("%s %s: %s", request.method, request.url.path, error)
        return problem(503, "unavailable", "Learnloop's database does not answer; try again in a moment")

    # Starlette logs the traceback of what comes here; the caller learns nothing of our insides.
    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "internal", "something went wrong here; the API server's log says what")


def _allowed(request: Request) -> list[str]:
    """The methods that a path has: Starlette names only those of the first route that fits."""
    scope = {name: request.scope[name] for name in ("type", "method", "path", "root_path")}
    fitting = (route for route in request.app.routes if route.matches(scope)[0] is not Match.NONE)
    return sorted({method for route in fitting for method in route.methods})
