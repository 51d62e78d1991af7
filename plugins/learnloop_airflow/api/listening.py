"""News of the database's, for as many streams as wait: one connection a server process listens for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from learnloop.database import EVENTS_CHANNEL
from learnloop.database.engine import listening
from learnloop.errors import TooManyRequests

STREAMS = 500
STREAMS_OF_ONE = 10
RECONNECT_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Hub:
    """Wakes streams by topic. Lives in one event loop; listens while at least one stream waits."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._by_user: dict[str, int] = defaultdict(int)
        self._listening: asyncio.Task[None] | None = None

    @contextmanager
    def stream(self, user: str, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set when ``topic`` has news, and whenever news may have been missed. Clear it, then read.

        Raises:
            TooManyRequests: this person, or this server, has as many open as may be.
        """
        if self._by_user[user] >= STREAMS_OF_ONE:
            raise TooManyRequests(f"{user} has {STREAMS_OF_ONE} streams open, and may have no more: close one", 5)
        if sum(self._by_user.values()) >= STREAMS:
            raise TooManyRequests(f"this server has {STREAMS} streams open, and can have no more", 30)
        news = asyncio.Event()
        news.set()
        self._by_user[user] += 1
        self._waiting[topic].add(news)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        try:
            yield news
        finally:
            self._waiting[topic].discard(news)
            if not self._waiting[topic]:
                del self._waiting[topic]
            self._by_user[user] -= 1
            if not self._by_user[user]:
                del self._by_user[user]
            if not self._waiting:
                self._listening.cancel()
                self._listening = None

    async def _listen(self) -> None:
        while True:
            try:
                async with listening(EVENTS_CHANNEL) as connection:
                    self._wake_all()  # for what came while nobody listened
                    async for notice in connection.notifies():
                        for news in self._waiting.get(notice.payload, ()):
                            news.set()
            except psycopg.OperationalError as error:
                _log.warning("the connection that listens for events was lost, and is made again: %s", error)
                await asyncio.sleep(RECONNECT_SECONDS)

    def _wake_all(self) -> None:
        for waiting in self._waiting.values():
            for news in waiting:
                news.set()


hub = Hub()
