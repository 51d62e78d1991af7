"""Airflow's tokens: which ones a request bears, how one is exchanged for the next, how one ends.

What is revoked is a row in Airflow's own table, which Airflow reads with every request: a token that ends here ends
for Airflow's pages and API, for ours and for the annotation page at the same moment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jwt
from airflow.api_fastapi.app import get_auth_manager, get_cookie_path
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.configuration import conf
from airflow.models.revoked_token import RevokedToken
from airflow.utils.session import create_session
from fastapi import Request, Response
from sqlalchemy.exc import IntegrityError
from starlette.concurrency import run_in_threadpool

from learnloop.database import session
from learnloop.errors import NotAuthenticated
from learnloop.people import tokens as people

COOKIE = COOKIE_NAME_JWT_TOKEN
_FLASK_SESSION = "session"  # FAB's own cookie; with it, FAB's login page gives a new token unasked


def bearer_of(request: Request) -> str | None:
    """The token of ``Authorization: Bearer``."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" and token else None


def presented(request: Request) -> list[str]:
    """Every token that the request bears, the one that says who is calling first."""
    found = [bearer_of(request), request.cookies.get(COOKIE)]
    return list(dict.fromkeys(token for token in found if token))


def claims_of(token: str) -> dict[str, Any]:
    """What a token says of itself. Only for tokens that Airflow has made or checked: the signature is not looked at."""
    return jwt.decode(token, options={"verify_signature": False})


def note(user: str, token: str) -> None:
    """Note that ``user`` was given ``token``, so that it can be revoked when they leave."""
    with session() as db:
        people.note(db, user, claims_of(token))


async def exchange(token: str) -> str:
    """A new token for the user of ``token``, which ends. Of two that exchange one token at once, one is refused.

    Raises:
        NotAuthenticated: it has ended already.
    """
    manager = get_auth_manager()
    try:
        user = await manager.get_user_from_token(token)
    except jwt.InvalidTokenError as error:
        raise NotAuthenticated(f"{error}: log in again (POST /auth/token gives a token)") from error
    made = manager.generate_jwt(user)
    if not await run_in_threadpool(end, claims_of(token)):
        raise NotAuthenticated("this token has been exchanged or revoked already: log in again")
    return made


def end(claims: dict[str, Any]) -> bool:
    """Revoke the token with these claims (``jti`` and ``exp`` are needed); False when it was revoked before."""
    row = RevokedToken(jti=claims["jti"], exp=datetime.fromtimestamp(claims["exp"], tz=UTC))
    try:
        with create_session() as airflow:
            airflow.add(row)
    except IntegrityError:
        return False
    return True


def end_all(request: Request) -> int:
    """Revoke every token that the request bears and that Airflow made; returns how many that were."""
    manager = get_auth_manager()
    tokens = presented(request)
    for token in tokens:
        manager.revoke_token(token)  # checks the signature first: nobody revokes what is not theirs
    return len(tokens)


def set_cookie(response: Response, request: Request, token: str) -> None:
    """Give a browser its new token, just as Airflow's login does."""
    response.set_cookie(COOKIE, token, **_cookie(request), samesite="lax")


def delete_cookies(response: Response, request: Request) -> None:
    for name in (COOKIE, _FLASK_SESSION):
        response.delete_cookie(name, **_cookie(request))


def _cookie(request: Request) -> dict[str, Any]:
    secure = request.base_url.scheme == "https" or bool(conf.get("api", "ssl_cert", fallback=""))
    return {"path": get_cookie_path(), "secure": secure, "httponly": True}
