"""Request bodies: how long they may be and take, and the errors of the protocol's own form."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from learnloop.errors import InvalidInput, LearnloopError, NotAuthenticated, TooManyRequests, Unavailable
from learnloop.serving.models import NotLoaded
from learnloop.serving.versions import ModelFault

BODY_SECONDS = 30.0
RETRY_AFTER = "1"


class TooLarge(InvalidInput):
    status = 413


class TooSlow(InvalidInput):
    status = 408


class WrongRequest(InvalidInput):
    status = 400


def content_length(request: Request, most: int) -> int | None:
    """The declared length of the body, bytes; None when it comes in chunks.

    Raises:
        TooLarge: it is more than ``most``.
    """
    length = request.headers.get("content-length")
    if length is None:
        return None
    if int(length) > most:
        raise TooLarge(f"the body has {length} bytes; at most {most} are read: send fewer rows at once")
    return int(length)


async def read_body(request: Request, most: int, length: int | None) -> bytes:
    """The body, of which `content_length` said ``length``.

    Raises:
        TooLarge, TooSlow: it has more than ``most`` bytes, or takes longer than 30 s.
        WrongRequest: the caller went away.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if length is not None:
                return await request.body()
            body = bytearray()
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLarge(f"the body has more than {most} bytes: send fewer rows at once")
            return bytes(body)
    except ClientDisconnect as error:
        raise WrongRequest("the body ended early: the caller went away") from error
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {BODY_SECONDS:.0f} s") from error


def json_size(request: Request) -> int | None:
    """How many bytes of the body are JSON, where binary tensor data follows it.

    Raises:
        WrongRequest: the header is no whole number.
    """
    text = request.headers.get("inference-header-content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise WrongRequest(f"Inference-Header-Content-Length is {text[:50]!r}; it must be a whole number of bytes")
    return int(text)


async def read_object(request: Request, most: int, *, may_be_empty: bool = False) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        WrongRequest: it is none.
    """
    body = await read_body(request, most, content_length(request, most))
    if not body and may_be_empty:
        return {}
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise WrongRequest(f"the body is not valid JSON: {error}") from error
    if not isinstance(asked, dict):
        raise WrongRequest('the body must name a model: {"model": "digits:realtime"}')
    return asked


def name_and_version(request: Request) -> tuple[str, int | None]:
    """The model's name and the version of it, as the URL gives them.

    Raises:
        WrongRequest: the version is no whole number, or there is an alias besides.
    """
    name: str = request.path_params["name"]
    version: str | None = request.path_params.get("version")
    if version is None:
        return name, None
    if ":" in name:
        raise WrongRequest(f"{name!r} with version {version}: give an alias or a version, not both")
    if not version.isdecimal():
        raise WrongRequest(f"the version of {name!r} is {version!r}; it must be a whole number")
    return name, int(version)


def json_answer(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def status_of(error: LearnloopError) -> int:
    return 400 if isinstance(error, InvalidInput) and error.status == 422 else error.status  # the protocol knows no 422


async def on_error(request: Request, error: LearnloopError) -> Response:
    response = json_answer({"error": str(error)}, status_of(error))
    if isinstance(error, Unavailable | TooManyRequests):
        response.headers["Retry-After"] = RETRY_AFTER
    if isinstance(error, NotAuthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def on_not_loaded(request: Request, error: NotLoaded) -> Response:
    return await on_error(request, Unavailable(f"{error}; the next inference request brings it back"))


async def on_fault(request: Request, error: ModelFault) -> Response:
    return json_answer({"error": f"the model did not answer as it must: {error}"}, 500)


async def on_http_error(request: Request, error: HTTPException) -> Response:
    response = json_answer({"error": f"{request.method} {request.url.path}: {error.detail}"}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def on_bug(request: Request, error: Exception) -> Response:
    return json_answer({"error": f"the server could not answer ({type(error).__name__}); its log says why"}, 500)
