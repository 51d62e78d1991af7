"""Our own routes write the audit log here: every change and every refusal, before its answer leaves."""

from __future__ import annotations

import logging
import re
import uuid
from contextvars import ContextVar
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from learnloop.audit import Entry
from learnloop.errors import TooManyRequests
from learnloop.limits import take
from learnloop.settings import settings
from learnloop.traces.context import RUN_HEADER, said_run

SAFE = {"GET", "HEAD", "OPTIONS"}
NAMED = {"POST /session/refresh": "refresh", "POST /session/logout": "logout"}
"""Actions that have a name of their own; any other is its method and route."""

_KEY = "learnloop.audit"
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_log = logging.getLogger(__name__)
_current: ContextVar[Entry | None] = ContextVar("learnloop_audit_entry", default=None)


def action_of(method: str, path: str) -> str:
    """What the log calls requests to a route."""
    action = f"{method} {path}"
    return NAMED.get(action, action)


def name_caller(scope: Any, name: str, action: str = "") -> None:
    """Say who this request is by: as soon as that is known, so that a refusal has a name too. And what it is, if known."""
    entry = scope.get(_KEY)
    if entry is not None:
        entry.user, entry.action = name, action


def write_with(db: Session, status: int) -> None:
    """Put the row of the request that is being answered into the transaction of what it does, for it costs a commit
    less so; ``status`` is what the answer will have. Refusals and failures, and all else, are written by `Audited`.
    """
    entry = current()
    if entry is not None and entry.action:
        entry.write_with(db, status)


def current() -> Entry | None:
    """The entry of the request that is being answered."""
    return _current.get()


def entry_of(scope: Scope, path: str) -> Entry:
    """An entry for the request of ``scope``. Its id is the caller's (``X-Request-ID``) if that is one, else a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    client = scope.get("client")
    return Entry(resource=path, address=client[0] if client else "", request_id=request_id)


async def write(entry: Entry, *, unfinished: bool = False) -> None:
    """Put ``entry`` into the log; into the server's log file when the database does not take it.

    What nobody knows whom did is limited by address: strangers cannot fill the disk.
    """
    try:
        if not entry.user:
            await run_in_threadpool(take, f"unknown {entry.address}", 10 * settings().rate_login)
        await run_in_threadpool(entry.write, unfinished=unfinished)
    except TooManyRequests:
        _log.warning("not in the audit log, for there are too many from there: %s", entry)
    except SQLAlchemyError:
        _log.exception("the audit log did not take %s", entry)


class Audited:
    """Writes a row for each request that changes something or is refused. Answers say their ``X-Request-ID``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        entry = scope[_KEY] = entry_of(scope, path)
        token = _current.set(entry)
        run = dict(scope["headers"]).get(RUN_HEADER.lower().encode(), b"").decode("latin-1")
        # In each line that Airflow's logging writes meanwhile.
        in_log = bind_contextvars(request_id=entry.request_id, **said_run(run))
        answered = False

        async def answer(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = entry.request_id
                await finish(message["status"], unfinished=headers.get("content-type") == "application/x-ndjson")
            await send(message)

        async def finish(status: int, *, unfinished: bool = False) -> None:
            if method in SAFE and status not in (401, 403):
                return
            route = getattr(scope.get("route"), "path", "(no such route)")
            if entry.kept == status:
                return  # it went with what it tells of
            entry.action, entry.status = action_of(method, route), status
            await write(entry, unfinished=unfinished)

        try:
            await self.app(scope, receive, answer)
        except Exception:
            if not answered:
                await finish(500)
            raise
        finally:
            _current.reset(token)
            reset_contextvars(**in_log)
