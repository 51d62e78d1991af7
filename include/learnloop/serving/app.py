"""The server's HTTP API: Open Inference Protocol v2, Ollama-like reads, metrics.

The names in URLs are ``digits`` (the alias ``current``), ``digits:realtime`` (an alias), or ``digits`` with
``/versions/{version}`` (exactly that one). An error is ``{"error": "..."}``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from learnloop import __version__
from learnloop.errors import InvalidInput, LearnloopError, Unavailable
from learnloop.serving import protocol
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import LoadedVersion, ModelSet

MAX_BODY = 16 * 2**20
SMALL_BODY = 64 * 2**10
"""Up to this many bytes a request is answered in the event loop: a thread would cost more than it saves."""
MAX_SMALL = 256
MAX_LARGE = 16
"""Requests that may wait at once; what comes on top is told to come again. Large ones hold 256 MiB at most."""
BODY_SECONDS = 30.0


class TooLarge(InvalidInput):
    status = 413


class TooSlow(InvalidInput):
    status = 408


class WrongRequest(InvalidInput):
    status = 400


@dataclass(slots=True)
class Lane:
    """The requests of one kind that wait for their answer."""

    limit: int
    waiting: int = 0


class Api:
    """The routes of one server. ``ready`` and ``live`` say how the process is."""

    def __init__(
        self, models: ModelSet, metrics: Metrics, *, ready: Callable[[], bool], live: Callable[[], bool]
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._ready = ready
        self._live = live
        self._small = Lane(MAX_SMALL)
        self._large = Lane(MAX_LARGE)
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="large-request")

    async def infer(self, request: Request) -> Response:
        started = time.perf_counter()
        length = _content_length(request)
        lane = self._small if length is not None and length <= SMALL_BODY else self._large
        if lane.waiting >= lane.limit:
            self._metrics.count("", "", 503, time.perf_counter() - started)
            raise Unavailable(f"{lane.waiting} requests wait already; come again in a second")
        lane.waiting += 1
        self._metrics.waiting += 1
        loaded, status = None, 500
        try:
            body = await _body(request, length)
            loaded = self._models.acquire(*_name_and_version(request))
            if lane is self._small:
                # Let the requests that have arrived be counted before this one is answered: else the
                # queue would stand, uncounted, in front of the event loop.
                await asyncio.sleep(0)
                answer = _answer(loaded, body)
            else:
                answer = await asyncio.get_running_loop().run_in_executor(self._pool, _answer, loaded, body)
            status = 200
            return Response(answer, media_type="application/json")
        except LearnloopError as error:
            status = _status(error)
            raise
        finally:
            lane.waiting -= 1
            self._metrics.waiting -= 1
            model, version = ("", "") if loaded is None else (loaded.name, str(loaded.version))
            self._metrics.count(model, version, status, time.perf_counter() - started)
            if loaded is not None:
                self._models.release(loaded)

    async def server(self, request: Request) -> Response:
        return _json({"name": "learnloop", "version": __version__, "extensions": []})

    async def health_live(self, request: Request) -> Response:
        live = self._live()
        return _json({"live": live}, 200 if live else 503)

    async def health_ready(self, request: Request) -> Response:
        ready = self._ready()
        return _json({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        loaded = self._models.get(*_name_and_version(request))
        versions = sorted(version for name, version in self._models.versions if name == loaded.name)
        return _json(protocol.metadata(loaded, versions))

    async def model_ready(self, request: Request) -> Response:
        loaded = self._models.get(*_name_and_version(request))
        return _json({"name": loaded.name, "ready": True})

    async def tags(self, request: Request) -> Response:
        """The aliases, each with the version it points at."""
        return _json(
            {"models": [_described(tagged, loaded) for tagged, loaded in sorted(self._models.aliases.items())]}
        )

    async def running(self, request: Request) -> Response:
        """The versions in memory, with their use."""
        aliases = self._models.aliases
        rows = []
        for (name, _), loaded in sorted(self._models.versions.items()):
            use = {
                "tags": sorted(tagged for tagged, other in aliases.items() if other is loaded),
                "requests": loaded.uses,
                "last_used_at": loaded.last_used_at,
            }
            rows.append({**_described(name, loaded), **use})
        return _json({"models": rows})

    async def show(self, request: Request) -> Response:
        try:
            asked = orjson.loads(await _body(request, _content_length(request)))
        except orjson.JSONDecodeError as error:
            raise WrongRequest(f"the body is not valid JSON: {error}") from error
        name = asked.get("model") if isinstance(asked, dict) else None
        if not isinstance(name, str):
            raise WrongRequest('the body must name a model: {"model": "digits:realtime"}')
        loaded = self._models.get(name)
        return _json({**_described(name, loaded), "model_info": protocol.metadata(loaded, [loaded.version])})

    async def metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(self._models), media_type="text/plain; version=0.0.4; charset=utf-8")


def create_app(
    models: ModelSet,
    metrics: Metrics,
    *,
    ready: Callable[[], bool],
    live: Callable[[], bool],
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    api = Api(models, metrics, ready=ready, live=live)
    routes = [
        Route("/v2/models/{name}/infer", api.infer, methods=["POST"]),
        Route("/v2/models/{name}/versions/{version}/infer", api.infer, methods=["POST"]),
        Route("/v2", api.server),
        Route("/v2/health/live", api.health_live),
        Route("/v2/health/ready", api.health_ready),
        Route("/v2/models/{name}", api.model),
        Route("/v2/models/{name}/ready", api.model_ready),
        Route("/v2/models/{name}/versions/{version}", api.model),
        Route("/v2/models/{name}/versions/{version}/ready", api.model_ready),
        Route("/api/tags", api.tags),
        Route("/api/ps", api.running),
        Route("/api/show", api.show, methods=["POST"]),
        Route("/metrics", api.metrics),
    ]
    handlers: dict[Any, Any] = {LearnloopError: _on_error, HTTPException: _on_http_error, Exception: _on_bug}
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)


def _answer(loaded: LoadedVersion, body: bytes) -> bytes:
    asked = protocol.parse_request(body, loaded.input_size)
    return protocol.format_response(loaded, asked, loaded.predict(asked.features))


def _name_and_version(request: Request) -> tuple[str, int | None]:
    name: str = request.path_params["name"]
    version: str | None = request.path_params.get("version")
    if version is None:
        return name, None
    if ":" in name:
        raise WrongRequest(f"{name!r} with version {version}: give an alias or a version, not both")
    if not version.isdecimal():
        raise WrongRequest(f"the version of {name!r} is {version!r}; it must be a whole number")
    return name, int(version)


def _content_length(request: Request) -> int | None:
    """The declared length of the body, bytes; None when it comes in chunks."""
    length = request.headers.get("content-length")
    if length is None:
        return None
    if int(length) > MAX_BODY:
        raise TooLarge(f"the body has {length} bytes; at most {MAX_BODY} are read: send fewer rows at once")
    return int(length)


async def _body(request: Request, length: int | None) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if length is not None:
                return await request.body()
            body = bytearray()
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise TooLarge(f"the body has more than {MAX_BODY} bytes: send fewer rows at once")
            return bytes(body)
    except ClientDisconnect as error:
        raise WrongRequest("the body ended early: the caller went away") from error
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {BODY_SECONDS:.0f} s") from error


def _described(name: str, loaded: LoadedVersion) -> dict[str, Any]:
    return {
        "name": name,
        "model": loaded.name,
        "version": loaded.version,
        "size": loaded.size,
        "modified_at": loaded.loaded_at,
        "details": {"format": "skops", "input_size": loaded.input_size, "classes": list(loaded.classes)},
    }


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _status(error: LearnloopError) -> int:
    return 400 if type(error) is InvalidInput else error.status  # the protocol knows no 422


async def _on_error(request: Request, error: LearnloopError) -> Response:
    response = _json({"error": str(error)}, _status(error))
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = "1"
    return response


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    response = _json({"error": f"{request.method} {request.url.path}: {error.detail}"}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _on_bug(request: Request, error: Exception) -> Response:
    return _json({"error": f"the server could not answer ({type(error).__name__}); its log says why"}, 500)
