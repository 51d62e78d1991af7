"""One inference request: let in, read, predicted with a version that stays, answered, counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from learnloop.errors import InvalidInput, LearnloopError, Unavailable
from learnloop.serving import bodies, protocol
from learnloop.serving.batching import Batcher
from learnloop.serving.config import ServingConfig
from learnloop.serving.loading import Loader
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet, NotLoaded
from learnloop.serving.protocol import InferRequest
from learnloop.serving.tracing import describe
from learnloop.serving.versions import LoadedVersion, ModelFault
from learnloop.traces.context import RUN_HEADER, said_run

SMALL_BODY = 64 * 2**10
"""Up to this many bytes a request is read in the event loop: a thread would cost more than it saves."""
LOAD_SECONDS = 30.0
"""So long a request waits for its model to come back to memory."""

access_log = logging.getLogger("learnloop.serving.access")
log = logging.getLogger(__name__)

T = TypeVar("T")
Watch = Callable[[LoadedVersion, InferRequest, NDArray[np.float32]], None]
"""Is shown each answer: what answered, what was asked, the probabilities ``[n, k]``."""


@dataclass(slots=True)
class Lane:
    """The requests of one kind that wait for their answer."""

    name: str
    limit: int
    waiting: int = 0


class Inference:
    """Answers inference requests.

    Args:
        on_fault: is told that a version erred, at once.
        watch: is shown each answer, once it has been made.
    """

    def __init__(
        self,
        models: ModelSet,
        loader: Loader,
        metrics: Metrics,
        config: ServingConfig,
        *,
        on_fault: Callable[[LoadedVersion], None],
        watch: Watch | None = None,
    ) -> None:
        self._models = models
        self._loader = loader
        self._metrics = metrics
        self._config = config
        self._on_fault = on_fault
        self._watch = watch
        self._small = Lane("small", config.queue)
        self._large = Lane("large", config.large_queue)
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="large-request")
        self._batcher = Batcher(
            window=config.batch_window, most_rows=config.batch_rows, executor=self._pool, told=metrics.batch
        )

    async def answer(self, request: Request) -> Response:
        started = time.perf_counter()
        length = bodies.content_length(request, self._config.body_bytes)
        lane = self._small if length is not None and length <= SMALL_BODY else self._large
        if lane.waiting >= lane.limit:
            self._metrics.refused(lane.name)
            self._count(request, None, 0, 503, started)
            raise Unavailable(f"{lane.waiting} requests wait already; come again in a second")
        lane.waiting += 1
        self._metrics.waiting += 1
        answered, status, rows = None, 500, 0
        try:
            body = await bodies.read_body(request, self._config.body_bytes, length)
            name, version = bodies.name_and_version(request)
            loaded = await self._acquire(name, version)
            answered = loaded
            try:
                asked = await self._read(loaded, body, bodies.json_size(request), small=lane is self._small)
                rows = asked.rows
                answered, probabilities = await self._predict(name, version, loaded, asked, small=lane is self._small)
            finally:
                self._models.release(loaded)
            content, json_size = protocol.format_response(answered, asked, probabilities)
            if self._watch is not None:
                self._watch(answered, asked, probabilities)
            status = 200
            if json_size is None:
                return Response(content, media_type="application/json")
            headers = {"Inference-Header-Content-Length": str(json_size)}
            return Response(content, media_type="application/octet-stream", headers=headers)
        except LearnloopError as error:
            status = bodies.status_of(error)
            raise
        finally:
            lane.waiting -= 1
            self._metrics.waiting -= 1
            self._count(request, answered, rows, status, started)

    async def _acquire(self, name: str, version: int | None) -> LoadedVersion:
        """The version, in use; loaded first where an alias leads to what left memory.

        Raises:
            NotFound: nothing is served under that name.
            Unavailable: there is no room for it, it does not load, or takes too long.
        """
        deadline = time.monotonic() + LOAD_SECONDS
        while True:
            try:
                return self._models.acquire(name, version)
            except NotLoaded as missing:
                self._metrics.cold_load()
                loading = asyncio.wrap_future(self._loader.start(missing.key, fresh=False))
                try:
                    await asyncio.wait_for(asyncio.shield(loading), max(deadline - time.monotonic(), 0))
                except TimeoutError as error:
                    raise Unavailable(f"{missing}, and loading it takes longer than {LOAD_SECONDS:.0f} s") from error
                except LearnloopError as error:
                    raise Unavailable(f"{missing}, and cannot be loaded now: {error}") from error
                except Exception as error:
                    log.exception("Could not load %s version %d for a request", *missing.key)
                    raise Unavailable(f"{missing}, and could not be loaded; the server's log says why") from error

    async def _read(self, loaded: LoadedVersion, body: bytes, json_size: int | None, *, small: bool) -> InferRequest:
        if small:
            asked = protocol.parse_request(body, loaded.input_size, json_size=json_size, takes=loaded.takes)
            if asked.samples is None:
                return asked
            return await self._in_thread(_with_features, loaded, asked)

        def read() -> InferRequest:
            asked = protocol.parse_request(body, loaded.input_size, json_size=json_size, takes=loaded.takes)
            return _with_features(loaded, asked)

        return await self._in_thread(read)

    async def _predict(
        self, name: str, version: int | None, loaded: LoadedVersion, asked: InferRequest, *, small: bool
    ) -> tuple[LoadedVersion, NDArray[np.float32]]:
        """The version that answered, and its probabilities ``[n, k]``.

        When the version errs and another stands by for it under the alias, that one answers: no request fails for a model
        that should not have been put there. It counts against the version only then: what nobody can answer may be the
        request's fault.
        """
        try:
            return loaded, await self._with(loaded, asked, small=small)
        except ModelFault as fault:
            self._metrics.fault(*loaded.key)
            log.error("%s", fault, exc_info=fault.__cause__)
            before = self._models.acquire_previous(name, loaded) if version is None else None
            if before is None:
                raise
            found = fault
        try:
            if asked.samples is not None:  # another version may read samples another way
                await self._in_thread(_with_features, before, asked)
            probabilities = await self._with(before, asked, small=small)
        except (ModelFault, InvalidInput):
            raise found from None
        finally:
            self._models.release(before)
        self._models.fault(loaded, str(found))
        self._on_fault(loaded)
        return before, probabilities

    async def _with(self, loaded: LoadedVersion, asked: InferRequest, *, small: bool) -> NDArray[np.float32]:
        assert asked.features is not None  # noqa: S101 - samples have been read
        if small and len(asked.features) < self._config.batch_rows:
            return await self._batcher.predict(loaded, asked.features)
        return await self._in_thread(loaded.predict, asked.features)

    async def _in_thread(self, work: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)

    def _count(self, request: Request, answered: LoadedVersion | None, rows: int, status: int, started: float) -> None:
        seconds = time.perf_counter() - started
        model, version = ("", "") if answered is None else (answered.name, str(answered.version))
        self._metrics.count(model, version, status, seconds, rows)
        trace = describe(request.scope, model=model, version=version, rows=rows)
        if self._config.access_log:
            line = {
                "path": request.url.path,
                "model": model,
                "version": version,
                "rows": rows,
                "status": status,
                "ms": round(seconds * 1000, 3),
                "client": request.client.host if request.client else "",
                "request_id": request.headers.get("x-request-id", "")[:100],
                **said_run(request.headers.get(RUN_HEADER, "")),
                **trace,
            }
            access_log.info("%s", orjson.dumps(line).decode(), extra={"fields": {"event": "inference", **line}})


def _with_features(loaded: LoadedVersion, asked: InferRequest) -> InferRequest:
    """The request with its samples read by the version's recipe.

    Raises:
        InvalidDataset: a sample is not what it must be; the message says which.
    """
    if asked.samples is not None:
        assert loaded.recipe is not None  # noqa: S101 - else samples are refused
        rows = [loaded.recipe.row(data, f"sample {index}") for index, data in enumerate(asked.samples)]
        asked.features = np.stack(rows)
    return asked
