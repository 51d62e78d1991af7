"""Airflow's own routes write the audit log here: every login, every logout, every refusal.

A login is an answer below ``/auth`` that gives a token, in its body or as the login cookie: by password, LDAP or OIDC.
"""

from __future__ import annotations

import hashlib
import json
import logging
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from learnloop.audit import Entry
    from learnloop.errors import TooManyRequests

_log = logging.getLogger(__name__)

OURS = "/learnloop/api/v1"
_TOKEN_ROUTES = ("/auth/token", "/auth/token/cli")
_FORMS = ("/auth/login", "/auth/login/")
_INDEX = "/auth/"
_LOGOUT = "/api/v2/auth/logout"
_LARGEST_LOGIN = 64 * 1024


class LoginAudit:
    """Airflow imports plugins in every process: what is needed is imported with the first request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        if not path or path.startswith(OURS):
            if "\n" in path:  # Airflow does not find our application then, and its 404 is no problem document
                from learnloop.errors import NotFound
                from learnloop_airflow.api.problems import answer_of

                await answer_of(NotFound(f"there is nothing at {path!r}"))(scope, receive, send)
                return
            await self.app(scope, receive, send)  # ours writes its own
            return
        if path.startswith("/auth"):
            await self._auth(scope, path, receive, send)
        else:
            await self._other(scope, path, receive, send)

    async def _auth(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        from starlette.concurrency import run_in_threadpool

        from learnloop.errors import BodyTooLarge, BodyTooSlow
        from learnloop.settings import settings
        from learnloop_airflow.api.audited import entry_of, write
        from learnloop_airflow.api.bodies import read_body, replay
        from learnloop_airflow.api.login_log import keep_names_out
        from learnloop_airflow.api.problems import answer_of

        keep_names_out()
        tries = scope["method"] == "POST" and path in (*_TOKEN_ROUTES, *_FORMS)
        entry = entry_of(scope, path)
        if tries:
            try:
                body = await read_body(scope, receive, most=_LARGEST_LOGIN, seconds=settings().body_seconds)
            except (BodyTooLarge, BodyTooSlow) as error:
                await answer_of(error)(scope, receive, send)
                return
            if body is None:
                return  # the client went away
            receive = replay(body, receive)
            keys = _limits(entry.address, _name_in(scope, body))
            refusal = await run_in_threadpool(_take, keys)
            if refusal is not None:
                entry.action, entry.status, entry.outcome = "login", 429, "refused"
                await write(entry)
                await answer_of(refusal)(scope, receive, send)
                return
        start: Message = {}
        content = b""

        async def look(message: Message) -> None:
            """Hold an answer back until it is in the log; one that cannot be a login leaves at once."""
            nonlocal start, content
            if message["type"] == "http.response.start":
                start = message
                if path not in _TOKEN_ROUTES:
                    await tell(_cookie_of(message))
                    await send(message)
                return
            if path in _TOKEN_ROUTES and message["type"] == "http.response.body":
                content += message.get("body", b"")
                if message.get("more_body", False):
                    return
                await tell(_token_of(content))
                await send(start)
                message = {"type": "http.response.body", "body": content}
            await send(message)

        async def tell(token: str | None) -> None:
            entry.status = start["status"]
            if token is not None:
                # FAB's index page gives a new token to a browser that has FAB's session already.
                entry.action = "refresh" if path == _INDEX else "login"
                entry.user, entry.outcome = await _user_of(token), "ok"
                await run_in_threadpool(_note, entry.user, token)
                if tries:
                    await run_in_threadpool(_give_back, keys)
            elif tries:
                entry.action, entry.user = "login", await _known(_name_in(scope, body))
                entry.outcome = "failed" if entry.status >= 500 else "refused"
            elif entry.status in (401, 403):
                entry.action = f"airflow {scope['method']}"
            else:
                return
            await write(entry)

        await self.app(scope, receive, look)

    async def _other(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        # Who logs out is asked before: afterwards nobody can say.
        leaving = await _caller(scope) if path == _LOGOUT else ""

        async def look(message: Message) -> None:
            if message["type"] == "http.response.start":
                refused = message["status"] in (401, 403)
                if refused or leaving:
                    await tell(message["status"])
            await send(message)

        async def tell(status: int) -> None:
            from learnloop_airflow.api.audited import entry_of, write

            entry: Entry = entry_of(scope, path)
            entry.status, entry.user = status, leaving or await _caller(scope)
            entry.action = "logout" if leaving else f"airflow {scope['method']}"
            await write(entry)

        await self.app(scope, receive, look)


def _limits(address: str, name: str) -> dict[str, int]:
    """What a login counts against until it turns out to be right: guesses at one name, and at any."""
    from learnloop.settings import settings

    each = settings().rate_login
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()  # it may be a password
    return {f"login {address} {digest}": each, f"login {address}": 10 * each}


def _take(limits: dict[str, int]) -> TooManyRequests | None:
    """Why a login is not even tried; None: it is. People can log in to Airflow while our database is away."""
    from sqlalchemy.exc import OperationalError

    from learnloop.errors import TooManyRequests
    from learnloop.limits import take

    try:
        for key, per_minute in limits.items():
            take(key, per_minute)
    except TooManyRequests as error:
        return error
    except OperationalError:
        _log.exception("logins are not limited: Learnloop's database does not answer")
    return None


def _give_back(limits: dict[str, int]) -> None:
    from sqlalchemy.exc import OperationalError

    from learnloop.limits import give_back

    try:
        for key, per_minute in limits.items():
            give_back(key, per_minute)
    except OperationalError:
        _log.exception("a right login stays counted: Learnloop's database does not answer")


def _note(user: str, token: str) -> None:
    from sqlalchemy.exc import OperationalError

    from learnloop_airflow.api.tokens import note

    try:
        note(user, token)
    except OperationalError:
        _log.exception("a token of %s is not noted: Learnloop's database does not answer", user)


def _token_of(body: bytes) -> str | None:
    """The token in an answer of ``/auth/token``, if there is one."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    token = found.get("access_token") if isinstance(found, dict) else None
    return token if isinstance(token, str) else None


def _cookie_of(start: Message) -> str | None:
    """The token that an answer sets as the login cookie, if it does."""
    for name, value in start["headers"]:
        if name.lower() == b"set-cookie" and value.startswith(b"_token="):
            try:
                token = SimpleCookie(value.decode("latin-1"))["_token"].value
            except (CookieError, KeyError):
                continue
            if token:
                return token
    return None


def _name_in(scope: Scope, body: Any) -> str:
    """The user name in a login's body: JSON or a form."""
    kind = dict(scope["headers"]).get(b"content-type", b"")
    text = bytes(body).decode("utf-8", "replace")
    if kind.startswith(b"application/x-www-form-urlencoded"):
        found: Any = {name: values[0] for name, values in parse_qs(text).items()}
    else:
        try:
            found = json.loads(text)
        except ValueError:
            return ""
    name = found.get("username") if isinstance(found, dict) else None
    return name if isinstance(name, str) else ""


async def _user_of(token: str) -> str:
    """The name of whom Airflow gave ``token``; empty when it does not open anything (any more)."""
    from airflow.api_fastapi.app import get_auth_manager
    from jwt import InvalidTokenError

    try:
        return str((await get_auth_manager().get_user_from_token(token)).get_name())
    except InvalidTokenError:
        return ""


async def _caller(scope: Scope) -> str:
    from starlette.requests import Request

    from learnloop_airflow.api.tokens import presented

    for token in presented(Request(scope)):
        if name := await _user_of(token):
            return name
    return ""


async def _known(name: str) -> str:
    """``name`` if it is a user's: people type passwords where a name belongs, and those are for no log."""
    from sqlalchemy.exc import OperationalError
    from starlette.concurrency import run_in_threadpool

    from learnloop.audit import has_logged_in
    from learnloop.database import session

    def ask() -> bool:
        with session() as db:
            return has_logged_in(db, name)

    if not name or "\x00" in name or len(name) > 250:
        return ""
    try:
        return name if await run_in_threadpool(ask) else ""
    except OperationalError:
        return ""  # the log has gone with it; who writes it next says so
