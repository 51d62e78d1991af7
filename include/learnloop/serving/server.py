"""One model server process: the loaded models, the reconciler, the listener, the HTTP server."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

from learnloop.models.deployment import DEPLOYMENTS_CHANNEL
from learnloop.serving.app import create_app
from learnloop.serving.callers import Callers
from learnloop.serving.config import ServingConfig
from learnloop.serving.http import http_config
from learnloop.serving.inference import Inference
from learnloop.serving.listener import Listener
from learnloop.serving.live import Recorder
from learnloop.serving.loading import Loader
from learnloop.serving.manage import Management
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet
from learnloop.serving.reconciler import Reconciler
from learnloop.serving.tracing import traced
from learnloop.serving.versions import Load, Source
from learnloop.settings import settings


class ModelServer:
    """Serves what the rows of the database say until SIGTERM, SIGINT or ``stop()``; answers what it has accepted."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        database_url: str,
        source_of: Source,
        load: Load,
        callers: Callers | None = None,
        config: ServingConfig | None = None,
    ) -> None:
        config = config or ServingConfig()
        callers = callers or Callers(settings().api_url)
        self.url = f"http://{host}:{port}"
        # Never reused: the statuses of a killed process must not be taken for those of its successor.
        self.replica = f"{socket.gethostname()[:80]}:{port}:{uuid.uuid4().hex[:8]}"
        self.models = ModelSet(source_of, load, memory_bytes=config.memory_bytes, keep_alive=config.keep_alive)
        self.metrics = Metrics(self.models)
        loader = Loader(self.models)
        recorder = Recorder(database_url, self.metrics)
        self.reconciler = Reconciler(
            self.models,
            loader,
            self.metrics,
            recorder,
            database_url=database_url,
            replica=self.replica,
            url=self.url,
            probation=config.probation,
        )
        inference = Inference(
            self.models,
            loader,
            self.metrics,
            config,
            on_fault=lambda _: self.reconciler.wake(),
            watch=recorder.watch,
        )
        management = Management(self.models, self.reconciler, source_of, callers, database_url)
        self._listener = Listener(database_url, DEPLOYMENTS_CHANNEL, self.reconciler.wake)
        app = create_app(
            self.models,
            self.metrics,
            inference,
            ready=lambda: self.reconciler.ready,
            live=lambda: self.reconciler.live,
            lifespan=self._lifespan,
            more=management.routes,
        )
        self._http = uvicorn.Server(http_config(traced(app), host, port))

    def run(self) -> None:
        self._http.run()

    def stop(self) -> None:
        self._http.should_exit = True

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Reconcile from before the first request until after the last; uvicorn drains before it leaves."""
        self.reconciler.start()
        self._listener.start()
        yield
        await asyncio.to_thread(self._listener.stop)
        await asyncio.to_thread(self.reconciler.stop)
