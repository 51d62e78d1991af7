"""The server's HTTP API: Open Inference Protocol v2, Ollama-like reads, metrics.

The names in URLs are ``digits`` (the alias ``current``), ``digits:realtime`` (an alias), ``digits:3`` (a version), or
``digits`` with ``/versions/{version}``. An error is ``{"error": "..."}``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from learnloop import __version__
from learnloop.errors import LearnloopError
from learnloop.serving import bodies, metrics, protocol
from learnloop.serving.bodies import json_answer, name_and_version
from learnloop.serving.inference import Inference
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet, NotLoaded, Target
from learnloop.serving.versions import LoadedVersion, ModelFault

SMALL = 64 * 2**10


class Reads:
    """The routes that only tell. ``ready`` and ``live`` say how the process is."""

    def __init__(
        self, models: ModelSet, counted: Metrics, *, ready: Callable[[], bool], live: Callable[[], bool]
    ) -> None:
        self._models = models
        self._metrics = counted
        self._ready = ready
        self._live = live

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/v2", self.server),
            Route("/v2/health/live", self.health_live),
            Route("/v2/health/ready", self.health_ready),
            Route("/v2/models/{name}", self.model),
            Route("/v2/models/{name}/ready", self.model_ready),
            Route("/v2/models/{name}/versions/{version}", self.model),
            Route("/v2/models/{name}/versions/{version}/ready", self.model_ready),
            Route("/api/tags", self.tags),
            Route("/api/ps", self.running),
            Route("/api/show", self.show, methods=["POST"]),
            Route("/api/version", self.version),
            Route("/metrics", self.metrics),
        ]

    async def server(self, request: Request) -> Response:
        return json_answer({"name": "learnloop", "version": __version__, "extensions": protocol.EXTENSIONS})

    async def version(self, request: Request) -> Response:
        return json_answer({"version": __version__})

    async def health_live(self, request: Request) -> Response:
        live = self._live()
        return json_answer({"live": live}, 200 if live else 503)

    async def health_ready(self, request: Request) -> Response:
        ready = self._ready()
        return json_answer({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        loaded = self._models.get(*name_and_version(request))
        versions = sorted(version for name, version in self._models.versions if name == loaded.name)
        return json_answer(protocol.metadata(loaded, versions))

    async def model_ready(self, request: Request) -> Response:
        """What is not in memory is ready all the same: the next request brings it back."""
        name, version = name_and_version(request)
        try:
            name = self._models.get(name, version).name
        except NotLoaded as there:
            name = there.key[0]
        return json_answer({"name": name, "ready": True})

    async def tags(self, request: Request) -> Response:
        """The aliases, each with the version it leads to."""
        versions, targets = self._models.versions, self._models.targets
        return json_answer({"models": [_tag(tagged, target, versions) for tagged, target in sorted(targets.items())]})

    async def running(self, request: Request) -> Response:
        """The versions in memory, with their use."""
        targets = self._models.targets
        rows = []
        for (name, version), loaded in sorted(self._models.versions.items()):
            tags = [
                tagged
                for tagged, target in targets.items()
                if tagged.startswith(f"{name}:") and version in (target.version, target.canary)
            ]
            use = {
                "tags": sorted(tags),
                "requests": loaded.uses,
                "answered": loaded.answered,
                "faults": loaded.faults,
                "last_used_at": loaded.last_used_at,
            }
            rows.append({**_described(name, loaded), **use})
        return json_answer({"models": rows})

    async def show(self, request: Request) -> Response:
        asked = await bodies.read_object(request, SMALL)
        name = asked.get("model")
        if not isinstance(name, str):
            raise bodies.WrongRequest('the body must name a model: {"model": "digits:realtime"}')
        loaded = self._models.get(name)
        return json_answer({**_described(name, loaded), "model_info": protocol.metadata(loaded, [loaded.version])})

    async def metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type=metrics.CONTENT_TYPE)


def create_app(
    models: ModelSet,
    counted: Metrics,
    inference: Inference,
    *,
    ready: Callable[[], bool],
    live: Callable[[], bool],
    lifespan: Lifespan[Starlette] | None = None,
    more: Sequence[Route] = (),
) -> Starlette:
    """The application; ``more`` are routes besides, such as those of `learnloop.serving.manage`."""
    routes = [
        Route("/v2/models/{name}/infer", inference.answer, methods=["POST"]),
        Route("/v2/models/{name}/versions/{version}/infer", inference.answer, methods=["POST"]),
        *Reads(models, counted, ready=ready, live=live).routes,
        *more,
    ]
    handlers: dict[Any, Any] = {
        LearnloopError: bodies.on_error,
        NotLoaded: bodies.on_not_loaded,
        ModelFault: bodies.on_fault,
        HTTPException: bodies.on_http_error,
        Exception: bodies.on_bug,
    }
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)


def _tag(tagged: str, target: Target, versions: dict[tuple[str, int], LoadedVersion]) -> dict[str, Any]:
    model = tagged.partition(":")[0]
    loaded = versions.get((model, target.version))
    canary = {"canary": target.canary, "canary_share": target.share} if target.canary is not None else {}
    if loaded is None:
        return {"name": tagged, "model": model, "version": target.version, "loaded": False, **canary}
    return {**_described(tagged, loaded), "loaded": True, **canary}


def _described(name: str, loaded: LoadedVersion) -> dict[str, Any]:
    return {
        "name": name,
        "model": loaded.name,
        "version": loaded.version,
        "size": loaded.size,
        "modified_at": loaded.loaded_at,
        "details": {"format": "skops", "input_size": loaded.input_size, "classes": list(loaded.classes)},
    }
