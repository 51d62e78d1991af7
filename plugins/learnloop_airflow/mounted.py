"""Applications of ours that Airflow's API server mounts."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import Any, ClassVar

_log = logging.getLogger(__name__)


class Mounted:
    """An ASGI application that is made when it is needed.

    Airflow imports plugins in every process, also in those that parse DAG files; only the API server serves this one.
    """

    all: ClassVar[list[Mounted]] = []
    """Those that there are in this process."""

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create, self._app = create, None
        self.all.append(self)

    def make(self) -> Any:
        if self._app is None:
            self._app = self._create()
        return self._app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.make()(scope, receive, send)


class MadeAtStart:
    """Makes our applications before the API server takes its first request.

    That takes a second or two, and on a busy machine half a minute: a server that had said it was healthy answered nobody
    for so long.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for mounted in Mounted.all:
                try:
                    mounted.make()
                except Exception:  # noqa: BLE001 - Airflow serves all the same, and who asks for ours is told
                    _log.exception("Learnloop's part of the API server cannot be made")
            # What is loaded by now stays: looking through it for garbage stopped all requests for half a second at a time.
            gc.collect()
            gc.freeze()
        await self.app(scope, receive, send)
