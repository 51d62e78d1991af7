"""Ending a server that others stand beside: it goes on answering while who sends requests hears that it goes.

Kubernetes tells a pod to end (SIGTERM) and whoever routes to it at the same moment; the one does not wait for the other.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from types import FrameType

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Draining:
    """Whether this server ends. Then its answers ask for the connection to be closed, so that callers find another."""

    def __init__(self) -> None:
        self.begun = False

    def around(self, app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def closing(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
                await send(message)

            await app(scope, receive, closing if self.begun and scope["type"] == "http" else send)

        return answer


class DrainingServer(uvicorn.Server):
    """Begins to end with the first signal, takes no more connections ``seconds`` later; a second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, draining: Draining, seconds: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._seconds = seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._draining.begun:
            super().handle_exit(sig, frame)
            return
        self._draining.begun = True
        timer = threading.Timer(self._seconds, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        self.should_exit = True
