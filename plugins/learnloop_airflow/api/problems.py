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
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learnloop.errors import LearnloopError, TooManyRequests

MEDIA_TYPE = "application/problem+json"
MAX_BODY_BYTES = 64 * 1024

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
    headers = {"Retry-After": str(math.ceil(error.retry_after) or 1)} if isinstance(error, TooManyRequests) else None
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
        return answer

    @app.exception_handler(OperationalError)
    async def no_database(request: Request, error: OperationalError) -> JSONResponse:
        _log.error("%s %s: %s", request.method, request.url.path, error)
        return problem(503, "unavailable", "Learnloop's database does not answer; try again in a moment")

    # Starlette logs the traceback of what comes here; the caller learns nothing of our insides.
    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "internal", "something went wrong here; the API server's log says what")


class LimitBody:
    """Refuse bodies over ``MAX_BODY_BYTES``, also those that do not say their length."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = await read_body(scope, receive)
        if isinstance(body, bytes):
            await self.app(scope, replay(body, receive), send)
        elif body is TooLarge:
            await too_large(scope, receive, send)


class TooLarge:
    """What `read_body` gives in place of a body that is too large."""


async def read_body(scope: Scope, receive: Receive) -> bytes | type[TooLarge] | None:
    """A request's body; `TooLarge` when it is over ``MAX_BODY_BYTES``; None when the client went away."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        return TooLarge
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return TooLarge
        more = message.get("more_body", False)
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives ``body`` once, and then what comes after it."""
    replayed = False

    async def again() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def too_large(scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem(413, "body-too-large", f"a request body may have at most {MAX_BODY_BYTES} bytes")
    await answer(scope, receive, send)
