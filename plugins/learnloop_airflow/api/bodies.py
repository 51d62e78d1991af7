"""Bodies of requests: how large they may be, how long they may take."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learnloop.errors import BodyTooLarge, BodyTooSlow
from learnloop.settings import settings
from learnloop_airflow.api.problems import answer_of


class LimitBody:
    """Reads the body before anything else of the application runs, within ``body_bytes`` and ``body_seconds``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
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
