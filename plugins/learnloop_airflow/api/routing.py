"""The one way to add a route: with the permission it needs. A route without one cannot be written."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.responses import Response, StreamingResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from learnloop.errors import InvalidInput, NotFound, UnsupportedMediaType
from learnloop.limits import spend, take
from learnloop.permissions import PERMISSIONS, authorize
from learnloop.settings import settings
from learnloop_airflow.api.answering import in_one_thread
from learnloop_airflow.api.audited import SAFE, action_of, name_caller
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.contract import SECURITY, lines_of, problems_of, statuses_of

_NOT_JSON = "learnloop.not-json"


class Lines(StreamingResponse):
    """Progress and then the result, as lines of JSON."""

    media_type = "application/x-ndjson"

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        # nginx hands each line on as it comes.
        super().init_headers({"X-Accel-Buffering": "no", **(headers or {})})


class _Request(Request):
    """A request whose body may turn out not to be JSON: who is calling is asked before that is told."""

    async def json(self) -> Any:
        try:
            return await super().json()
        except (ValueError, RecursionError) as error:
            self.scope[_NOT_JSON] = str(error)
            return None


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive))

        return handler


class Routes:
    """A group of routes; each checks its permission before anything else of it runs."""

    def __init__(self) -> None:
        self.router = APIRouter(route_class=_Route)

    def add(
        self,
        method: str,
        path: str,
        permission: str,
        *,
        answers: Any = None,
        result: Any = None,
        errors: tuple[int, ...] = (),
        limited: bool = True,
        takes: str | None = None,
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add the decorated function as a route.

        Args:
            answers: what a handler that makes its own response answers with, for the OpenAPI document.
            result: the same for one that answers in `Lines`.
            errors: statuses it may end with, beside those that any such route may.
            limited: whether requests count against their caller's limit, which our database keeps. Not those that must be
                answered when it is away.
            takes: the media type of a body that the handler reads itself.
        """
        if permission not in PERMISSIONS:
            raise ValueError(f"{method} {path}: unknown permission {permission!r}")

        kind = kind_of(method, permission)
        known: set[str] = set()

        async def check(caller: Caller, request: Request) -> None:
            name_caller(request.scope, caller.name, action_of(method, path))
            key, limit = f"{kind} {caller.name}", getattr(settings(), f"rate_{kind}")
            if limited and not spend(key, limit):
                await run_in_threadpool(take, key, limit)
            authorize(caller, permission)
            _refuse_odd(request, known)
            if takes is not None:
                _refuse_other(request, takes)

        check.permission = permission  # type: ignore[attr-defined]

        def register(handler: Callable[..., Any]) -> Callable[..., Any]:
            responses: dict[int | str, dict[str, Any]] = options.pop("responses", {})
            if answers is not None:
                responses.setdefault(options.get("status_code") or 200, {})["model"] = answers
            if result is not None:
                options["response_class"] = Lines
                responses[200] = {"content": {Lines.media_type: {"schema": lines_of(result)}}}
            self.router.add_api_route(
                path,
                in_one_thread(handler, **options),
                methods=[method],
                dependencies=[Depends(check)],
                openapi_extra={"x-permission": permission, "security": SECURITY, **_file(takes)},
                responses=responses,
                **options,
            )
            route: Any = self.router.routes[-1]
            parameters = get_flat_dependant(route.dependant)
            known.update(parameter.alias for parameter in parameters.query_params)
            given = bool(parameters.path_params or known or parameters.header_params or route.body_field)
            body = route.body_field is not None or takes is not None
            common = statuses_of(path=bool(parameters.path_params), given=given, body=body)
            route.responses = {**problems_of((*common, *errors)), **route.responses}
            return handler

        return register


def kind_of(method: str, permission: str) -> str:
    """Which limit of requests a route counts against: ``read``, ``claim`` or ``write``."""
    if method in SAFE:
        return "read"
    return "claim" if permission == "annotation:claim" else "write"


def unguarded(app: FastAPI) -> list[str]:
    """The routes of ``app`` that answer without a permission: those that `Routes.add` did not make, or whose OpenAPI
    entry names another than they ask for. Empty, or the application must not be served.
    """
    found = []
    for route in app.routes:
        if not isinstance(route, APIRoute):  # a mount, a plain route: nothing of theirs is asked for anything
            found.append(f"{type(route).__name__} {getattr(route, 'path', '?')}")
            continue
        asked = {getattr(needed.call, "permission", None) for needed in route.dependant.dependencies} - {None}
        if asked != {(route.openapi_extra or {}).get("x-permission")}:
            found.append(f"{','.join(sorted(route.methods))} {route.path}")
    return found


def _refuse_odd(request: Request, known: set[str]) -> None:
    """Refuse what no route takes: NUL in a name, parameters nobody knows (misspelt?), bodies that are not JSON.

    Raises:
        NotFound, InvalidInput, UnsupportedMediaType.
    """
    for value in request.path_params.values():
        if "\x00" in str(value):
            raise NotFound(f"there is nothing called {value!r}")
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        raise InvalidInput(
            "the request is not valid", [f"query.{name}: unknown parameter; {takes}" for name in unknown]
        )
    length = request.headers.get("content-length", "" if "transfer-encoding" in request.headers else "0")
    if getattr(request.scope["route"], "body_field", None) is None or length == "0":
        return
    kind = _kind(request)
    if kind != "application/json":
        raise UnsupportedMediaType(f"the body must be JSON (Content-Type: application/json), not {kind or 'unnamed'}")
    if _NOT_JSON in request.scope:
        raise InvalidInput("the request is not valid", [f"body: not JSON: {request.scope[_NOT_JSON]}"])


def _refuse_other(request: Request, takes: str) -> None:
    if (kind := _kind(request)) != takes:
        raise UnsupportedMediaType(f"the body must be a file (Content-Type: {takes}), not {kind or 'unnamed'}")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _file(takes: str | None) -> dict[str, Any]:
    """What the OpenAPI document says of a body that is a file."""
    schema = {"type": "string", "format": "binary"}
    return {} if takes is None else {"requestBody": {"required": True, "content": {takes: {"schema": schema}}}}
