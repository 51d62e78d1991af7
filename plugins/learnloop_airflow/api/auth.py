"""Who is calling: Airflow's auth manager says, by its token (``Authorization: Bearer`` or the login cookie)."""

from __future__ import annotations

import hmac
from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.core_api.security import get_user, resolve_user_from_token
from fastapi import Depends, HTTPException, Request

from learnloop.errors import NotAuthenticated, PermissionDenied
from learnloop.permissions import SCRAPER, SERVICE, Principal, is_persons_name
from learnloop.settings import settings
from learnloop_airflow.api.audited import SAFE, name_caller
from learnloop_airflow.api.callers import user_of
from learnloop_airflow.api.tokens import bearer_of, presented

SIMPLE_ROLES = {"admin": "admin", "op": "engineer", "user": "scientist", "viewer": "viewer"}
"""Which of our roles each role of SimpleAuthManager's is. Under FAB people bear our roles by name."""


async def principal(request: Request) -> Principal:
    """The caller.

    Raises:
        NotAuthenticated: no token, or one that is expired, revoked or not Airflow's.
        PermissionDenied: a write that bears only the cookie and comes from another site.
    """
    token = bearer_of(request)
    if token and _is_scrapers(token):
        name_caller(request.scope, SCRAPER.name)
        return SCRAPER
    try:
        user = await user_of(token) if token else await get_user(request, None, None)
    except HTTPException as error:
        raise NotAuthenticated(f"{error.detail}: log in again (POST /auth/token gives a token)") from error
    name = user.get_name()
    name_caller(request.scope, name)
    if token is None and request.method not in SAFE:
        _refuse_other_sites(request)
    if not is_persons_name(name):
        raise NotAuthenticated(
            f"{name}: names that begin with 'service:' or 'archive:' are the platform's own; nobody logs in as one"
        )
    return Principal(name, _roles(user))


def _is_scrapers(token: str) -> bool:
    """Whether it is the token of who collects metrics: a setting, for a scraper cannot log in anew every day."""
    expected = settings().metrics_token
    return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())


async def still_logged_in(request: Request) -> None:
    """Ask again about a request that is answered for long: its token may have ended since.

    Raises:
        NotAuthenticated: it has.
    """
    for token in presented(request)[:1]:
        try:
            await resolve_user_from_token(token)
        except HTTPException as error:
            raise NotAuthenticated(f"{error.detail}: log in again (POST /auth/token gives a token)") from error


def _roles(user: object) -> frozenset[str]:
    many = getattr(user, "roles", None)  # FAB: role objects
    if many is not None:
        names = [getattr(role, "name", str(role)) for role in many]
    else:
        one = str(getattr(user, "role", None) or "").lower()  # SimpleAuthManager: one of Airflow's four
        names = [SIMPLE_ROLES.get(one, one)] if one else []
    # The background parts' roles are no person's, whatever somebody called a role in Airflow.
    return frozenset(name for name in names if name.lower() not in SERVICE.roles | SCRAPER.roles)


def _refuse_other_sites(request: Request) -> None:
    """A browser sends the cookie along with requests that other sites make; those must not write."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    same = site in ("same-origin", "none") or (
        site is None and origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    )
    if not same:
        raise PermissionDenied("a write with the login cookie must come from this site; others send a Bearer token")


Caller = Annotated[Principal, Depends(principal)]
