"""Server-sent events: what is told as it happens, until the caller goes, the token ends, or the server stops."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.sse import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from learnloop.errors import LearnloopError
from learnloop_airflow.api.auth import still_logged_in
from learnloop_airflow.api.listening import hub
from learnloop_airflow.api.problems import of_error

ASK_AGAIN_SECONDS = 5.0
"""How often a stream's token is looked at; besides, before anything is told."""

For = Annotated[
    int, Query(alias="timeout_seconds", ge=0, le=3600, description="how long the stream lasts; 0: what there is")
]
Look = Callable[[], list[ServerSentEvent] | None]
"""What is new since the last look; None: nothing more will come."""


async def told(
    request: Request, user: str, topic: str, look: Look, *, every: float, seconds: float
) -> AsyncIterator[ServerSentEvent]:
    """Stream what ``look`` finds, called in a thread at each news of ``topic`` and at least ``every`` seconds, for at
    most ``seconds``: at least once.

    An error ends the stream with an event ``problem``. Callers come back with ``Last-Event-ID``.
    """
    try:
        with hub.stream(user, topic) as news:
            looked = asked = -float("inf")
            end = time.monotonic() + seconds
            while not _stopping():
                now = time.monotonic()
                if news.is_set() or now - asked >= ASK_AGAIN_SECONDS:
                    await still_logged_in(request)
                    asked = now
                if news.is_set() or now - looked >= every:
                    news.clear()
                    found = await run_in_threadpool(look)
                    looked = now
                    for event in found or ():
                        yield event
                    if found is None:
                        return
                left = end - time.monotonic()
                if left <= 0:
                    return
                await _wait(news, min(1.0, every, left))
    except LearnloopError as error:
        yield ServerSentEvent(event="problem", data=of_error(error))


async def _wait(news: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(news.wait(), seconds)
    except TimeoutError:
        return  # time to look whether the server stops


def _stopping() -> bool:
    """Whether the server was told to stop: uvicorn waits for open answers, and tells them nothing."""
    server: Any = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))
