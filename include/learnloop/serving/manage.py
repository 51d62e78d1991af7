"""Routes that load, unload, copy and delete: Ollama's verbs, and the protocol's model repository.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
https://github.com/ollama/ollama/blob/main/docs/api.md

All of them but the index need a token whose bearer may ``model:deploy``. What they want is written to the database (a
lease) or asked of our API (an alias), so every server does it, and it is in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from learnloop.audit import Entry
from learnloop.client import LearnloopClient
from learnloop.database import session
from learnloop.errors import Conflict, LearnloopError
from learnloop.models.deployment import lease_holders, lease_model, release_model
from learnloop.serving import bodies
from learnloop.serving.bodies import WrongRequest, json_answer
from learnloop.serving.callers import Caller, Callers
from learnloop.serving.durations import FOREVER, keep_alive
from learnloop.serving.models import ModelSet, NotLoaded
from learnloop.serving.reconciler import Reconciler
from learnloop.serving.versions import Key, Source
from learnloop.serving.waiting import Waiting

PERMISSION = "model:deploy"
SMALL = 64 * 2**10


class Management:
    """The routes. A model is named ``digits``, ``digits:realtime`` or ``digits:3``."""

    def __init__(
        self, models: ModelSet, reconciler: Reconciler, source_of: Source, callers: Callers, database_url: str
    ) -> None:
        self._models = models
        self._reconciler = reconciler
        self._waiting = Waiting(models, reconciler)
        self._source_of = source_of
        self._callers = callers
        self._database_url = database_url

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/v2/repository/index", self.index, methods=["POST"]),
            Route("/v2/repository/models/{name}/load", self.load, methods=["POST"]),
            Route("/v2/repository/models/{name}/unload", self.unload, methods=["POST"]),
            Route("/api/pull", self.pull, methods=["POST"]),
            Route("/api/stop", self.stop, methods=["POST"]),
            Route("/api/copy", self.copy, methods=["POST"]),
            Route("/api/delete", self.delete, methods=["DELETE"]),
        ]

    async def index(self, request: Request) -> Response:
        """Every alias and version that should be here, with its state."""
        asked = await bodies.read_object(request, SMALL, may_be_empty=True)
        rows = self._reconciler.index()
        return json_answer([row for row in rows if row["state"] == "READY"] if asked.get("ready") else rows)

    async def load(self, request: Request) -> Response:
        """Have every server load a version and keep it, until it is unloaded."""
        await bodies.read_object(request, SMALL, may_be_empty=True)
        caller = await self._may(request)
        name = request.path_params["name"]
        key = await run_in_threadpool(self._key_of, name)
        await run_in_threadpool(self._audited, request, caller, "load", name, lambda: self._lease(key, FOREVER, caller))
        await self._waiting.loaded(key)
        return Response(status_code=200)

    async def unload(self, request: Request) -> Response:
        await bodies.read_object(request, SMALL, may_be_empty=True)
        caller = await self._may(request)
        name = request.path_params["name"]
        await run_in_threadpool(self._audited, request, caller, "unload", name, lambda: self._let_go(name, caller))
        return Response(status_code=200)

    async def pull(self, request: Request) -> Response:
        """Have every server load a version and keep it for ``keep_alive``; ends when it is in memory here."""
        asked = await bodies.read_object(request, SMALL)
        name, duration = _model(asked), keep_alive(asked.get("keep_alive"))
        caller = await self._may(request)
        key = await run_in_threadpool(self._key_of, name)

        def begin() -> None:
            if duration == timedelta(0):
                self._let_go(name, caller)
            else:
                self._lease(key, duration, caller)

        await run_in_threadpool(self._audited, request, caller, "pull", name, begin)
        if duration == timedelta(0):
            return json_answer({"status": "success"})
        if asked.get("stream") is False:
            await self._waiting.loaded(key)
            return json_answer({"status": "success"})
        return StreamingResponse(self._waiting.lines(key), media_type="application/x-ndjson")

    async def stop(self, request: Request) -> Response:
        """Unload a version; what has an alias comes back with the next request for it."""
        asked = await bodies.read_object(request, SMALL)
        name = _model(asked)
        caller = await self._may(request)
        await run_in_threadpool(self._audited, request, caller, "stop", name, lambda: self._let_go(name, caller))
        return json_answer({"status": "success"})

    async def copy(self, request: Request) -> Response:
        """Serve what ``source`` names under the alias ``destination`` too, and as ``current``: our API promotes it."""
        asked = await bodies.read_object(request, SMALL)
        name, tag = _destination(asked)
        caller = await self._may(request)
        key = await run_in_threadpool(self._key_of, _model(asked, "source"))
        if key[0] != name:
            raise WrongRequest(f"{key[0]!r} cannot become {name!r}: an alias leads to versions of its own model")

        def promote() -> list[dict[str, Any]]:
            with LearnloopClient(self._callers.api_url, caller.token) as api:
                return api.promote(name, tag, key[1], str(asked.get("reason") or f"copied from {asked['source']}"))

        return json_answer({"status": "success", "moved": await run_in_threadpool(promote)})

    async def delete(self, request: Request) -> Response:
        """Let go of a pulled version (``digits:3``), or take an alias away; versions stay in the registry."""
        asked = await bodies.read_object(request, SMALL)
        name = _model(asked)
        caller = await self._may(request)
        model, _, tag = name.partition(":")
        if tag.isdecimal():
            await run_in_threadpool(self._audited, request, caller, "delete", name, lambda: self._let_go(name, caller))
            return json_answer({"status": "success"})
        if not tag:
            raise WrongRequest(f"{name!r} names no alias: say which, such as {name}:realtime")

        def withdraw() -> None:
            with LearnloopClient(self._callers.api_url, caller.token) as api:
                api.withdraw(model, tag)

        await run_in_threadpool(withdraw)
        return json_answer({"status": "success"})

    async def _may(self, request: Request) -> Caller:
        return await run_in_threadpool(self._callers.may, request, PERMISSION)

    def _key_of(self, name: str) -> Key:
        """The registered version that a name leads to.

        Raises:
            NotFound: nothing is served under that name, or there is no such version.
        """
        model, _, tag = name.partition(":")
        if tag.isdecimal():
            self._source_of(model, int(tag))
            return model, int(tag)
        try:
            return self._models.get(name).key
        except NotLoaded as there:
            return there.key

    def _lease(self, key: Key, duration: timedelta, caller: Caller) -> None:
        with session(self._database_url) as db:
            lease_model(
                db,
                model_name=key[0],
                version=key[1],
                holder=_holder(caller),
                duration=duration,
                owner=caller.name,
            )

    def _let_go(self, name: str, caller: Caller) -> None:
        """Give the caller's lease back, and unload the version here.

        Raises:
            Conflict: somebody else has a lease on it.
            Unavailable: a request uses it just now.
        """
        key = self._key_of(name)
        with session(self._database_url) as db:
            release_model(db, model_name=key[0], version=key[1], holder=_holder(caller))
            others = lease_holders(db, model_name=key[0], version=key[1])
        if others:
            raise Conflict(f"{key[0]} version {key[1]} stays: {', '.join(others)} holds a lease on it")
        self._models.unpin(key)
        self._models.park(key)

    def _audited(self, request: Request, caller: Caller, action: str, name: str, work: Callable[[], None]) -> None:
        entry, status = self._entry(request, caller, action, name), 200
        try:
            work()
        except LearnloopError as error:
            status = bodies.status_of(error)
            raise
        finally:
            with session(self._database_url) as db:
                entry.write_with(db, status)

    @staticmethod
    def _entry(request: Request, caller: Caller, action: str, name: str) -> Entry:
        return Entry(
            resource=name,
            address=request.client.host if request.client else "",
            request_id=request.headers.get("x-request-id", "")[:36],
            action=f"model server: {action}",
            user=caller.name,
        )


def _holder(caller: Caller) -> str:
    return f"pull:{caller.name}"[:250]


def _model(asked: dict[str, Any], field: str = "model") -> str:
    name = asked.get(field) if field in asked else asked.get("name")  # older clients of Ollama say "name"
    if not isinstance(name, str) or not name:
        raise WrongRequest(f'the body must name a model: {{"{field}": "digits:realtime"}}')
    return name


def _destination(asked: dict[str, Any]) -> tuple[str, str]:
    name = asked.get("destination")
    if not isinstance(name, str) or name.count(":") != 1 or not all(name.split(":")):
        raise WrongRequest('the body must name both ends: {"source": "digits:3", "destination": "digits:realtime"}')
    model, _, tag = name.partition(":")
    return model, tag
