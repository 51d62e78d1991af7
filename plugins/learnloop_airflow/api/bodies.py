"""Bodies of requests: how large they may be, how long they may take."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learnloop.errors import BodyTooLarge, BodyTooSlow
from learnloop.settings import settings
from learnloop_airflow.api.problems import answer_of

UPLOADS = "/tasks/upload"
"""Ends the paths of requests that bring a file: their route reads it, for that must know first who sends it."""


class LimitBody:
    """Reads the body before anything else of the application runs, within ``body_bytes`` and ``body_seconds``; not that
    of `UPLOADS`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].endswith(UPLOADS):
            await self.app(scope, receive, send)
            return
        configured = settings()
        try:
            body = await read_body(scope, receive, most=configured.body_bytes, seconds=configured.body_seconds)
        except (BodyTooLarge, BodyTooSlow) as error:
            await answer_of(error)(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, replay(body, receive), send)


async def read_body(scope: Scope, receive: Receive, *, most: int, seconds: float) -> bytes | None:
    """A request's body; None when the client went away.

    Raises:
        BodyTooLarge: over ``most`` bytes, whether it says its length or not.
        BodyTooSlow: not all of it came within ``seconds``.
    """
    too_large = BodyTooLarge(f"a request body may have at most {most} bytes")
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not length.isdigit() or int(length) > most:
        raise too_large
    if length == b"0" and not _comes_in_chunks(scope):
        return b""  # nothing will come, and asking for it costs more than a statement behind Airflow's middleware
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body += message.get("body", b"")
                if len(body) > most:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise BodyTooSlow(f"the request body did not arrive within {seconds} seconds; send it again") from error


async def read_file(request: Request, target: Path, *, most: int, seconds: float) -> None:
    """Write a request's body to the new file ``target``, in bounded memory.

    Raises:
        BodyTooLarge: over ``most`` bytes, whether it says its length or not.
        BodyTooSlow: not all of it came within ``seconds``, or the client went away.
    """
    too_large = BodyTooLarge(f"a file may have at most {most} bytes; split it, or have the server read it where it is")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise too_large
    size = 0
    try:
        with target.open("xb") as file:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        raise too_large
                    file.write(chunk)
    except TimeoutError as error:
        raise BodyTooSlow(f"the file did not arrive within {seconds} seconds; send it again") from error
    except ClientDisconnect as error:
        raise BodyTooSlow("the file did not arrive whole; send it again") from error


def _comes_in_chunks(scope: Scope) -> bool:
    return any(name == b"transfer-encoding" for name, _ in scope["headers"])


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
