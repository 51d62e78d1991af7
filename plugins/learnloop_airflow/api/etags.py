"""ETags (RFC 9110): who has an answer already gets 304; who changes something may say what it must still be."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from fastapi import Header
from fastapi.encoders import jsonable_encoder
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learnloop.errors import PreconditionFailed

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        description="Refuse with 412 unless the thing still has one of these ETags.",
    ),
]


def etag_of(content: Any) -> str:
    """The ETag of something that JSON can tell."""
    return _tag(json.dumps(jsonable_encoder(content), sort_keys=True).encode())


def require(if_match: str | None, etag: str, what: str) -> None:
    """Raise PreconditionFailed if ``if_match`` is given and ``etag`` is not in it."""
    if if_match is not None and not _names(if_match, etag, weak=False):
        raise PreconditionFailed(f"{what} changed since you looked: look at it again, and decide anew")


class Conditional:
    """Gives answers to GET an ETag, unless the route did, and answers 304 to who has that content already.

    Saves the way, not the work: the answer is made in any case. Nobody but the caller may keep it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        had = Headers(scope=scope).get("if-none-match")
        start: Message | None = None

        async def answer(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] == 200 and _is_whole(message):
                start = message
                return
            if start is None:
                await send(message)
                return
            headers = MutableHeaders(scope=start)
            if headers.get("cache-control") != "no-store":
                headers.setdefault("Cache-Control", "private, no-cache")
                etag = headers.setdefault("ETag", _tag(message.get("body", b"")))
                if had is not None and _names(had, etag, weak=True):
                    start["status"], message = 304, {"type": "http.response.body", "body": b""}
                    del headers["content-length"], headers["content-type"]
            await send(start)
            start = None
            await send(message)

        await self.app(scope, receive, answer)


def _is_whole(start: Message) -> bool:
    """Whether the content is there already: what comes as it is made does not say its length."""
    return "content-length" in Headers(raw=start["headers"])


def _tag(content: bytes) -> str:
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def _names(header: str, etag: str, *, weak: bool) -> bool:
    """Whether ``*`` or a list of ETags names ``etag``. A weak one names it only where that is enough."""
    if header.strip() == "*":
        return True
    given = [each.strip() for each in header.split(",")]
    return etag in ([each.removeprefix("W/") for each in given] if weak else given)
