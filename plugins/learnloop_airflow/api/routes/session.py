"""Who am I, for how long, and is the platform well?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool

from learnloop import __version__
from learnloop.database import reading
from learnloop.errors import NotAuthenticated
from learnloop_airflow.api import tokens
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.sessions import Health, LoggedOut, Refreshed, SessionItem

routes = Routes()


@routes.add("GET", "/session", "session:read", response_model=SessionItem)
def who_am_i(caller: Caller) -> dict[str, Any]:
    """The caller's name, roles, and what they may do."""
    return {"name": caller.name, "roles": sorted(caller.roles), "permissions": sorted(caller.permissions)}


@routes.add("POST", "/session/refresh", "session:write", answers=Refreshed)
async def refresh(request: Request, caller: Caller) -> JSONResponse:
    """A new token for one that is still valid, which ends. A browser gets it as its login cookie, and never sees it."""
    borne = tokens.presented(request)
    if not borne:  # Airflow lets everybody in without one in its all-admins mode
        raise NotAuthenticated("there is no token in this request to exchange")
    made = await tokens.exchange(borne[0])
    await run_in_threadpool(tokens.note, caller.name, made)
    bearer = tokens.bearer_of(request) is not None
    said = {"expires_at": _time(tokens.claims_of(made)["exp"]), **({"access_token": made} if bearer else {})}
    answer = JSONResponse(said, headers={"Cache-Control": "no-store"})
    if not bearer:
        tokens.set_cookie(answer, request, made)
    return answer


@routes.add("POST", "/session/logout", "session:write", answers=LoggedOut)
async def logout(request: Request) -> JSONResponse:
    """Revoke every token that this request bears: header and cookie."""
    await run_in_threadpool(tokens.end_all, request)
    answer = JSONResponse({"logged_out": True})
    tokens.delete_cookies(answer, request)
    return answer


@routes.add("GET", "/health", "session:read", response_model=Health)
def health() -> dict[str, str]:
    """Answers when the API can read its database."""
    with reading() as db:
        db.execute(text("SELECT 1"))
    return {"status": "healthy", "version": __version__}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
