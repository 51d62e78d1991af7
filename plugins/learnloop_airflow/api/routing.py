"""The one way to add a route: with the permission it needs. A route without one cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from learnloop.limits import take
from learnloop.permissions import PERMISSIONS, authorize
from learnloop.settings import settings
from learnloop_airflow.api.audited import SAFE, name_caller
from learnloop_airflow.api.auth import Caller


class Routes:
    """A group of routes; each checks its permission before anything else of it runs."""

    def __init__(self) -> None:
        self.router = APIRouter()

    def add(
        self, method: str, path: str, permission: str, **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        if permission not in PERMISSIONS:
            raise ValueError(f"{method} {path}: unknown permission {permission!r}")

        kind = kind_of(method, permission)

        def check(caller: Caller, request: Request) -> None:
            name_caller(request.scope, caller.name)
            take(f"{kind} {caller.name}", getattr(settings(), f"rate_{kind}"))
            authorize(caller, permission)

        check.permission = permission  # type: ignore[attr-defined]

        def register(handler: Callable[..., Any]) -> Callable[..., Any]:
            self.router.add_api_route(
                path,
                handler,
                methods=[method],
                dependencies=[Depends(check)],
                openapi_extra={"x-permission": permission},
                **options,
            )
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
