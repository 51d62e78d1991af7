"""Who is calling: Airflow's auth manager says, by its token (``Authorization: Bearer`` or the login cookie)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials

from learnloop.errors import NotAuthenticated, PermissionDenied
from learnloop.permissions import Principal

SAFE = {"GET", "HEAD", "OPTIONS"}


async def principal(request: Request) -> Principal:
    """The caller.

    Raises:
        NotAuthenticated: no token, or one that is expired, revoked or not Airflow's.
        PermissionDenied: a write that bears only the cookie and comes from another site.
    """
    authorization = request.headers.get("authorization", "")
    scheme, _, token = authorization.partition(" ")
    bearer = None
    if scheme.lower() == "bearer" and token:
        bearer = HTTPAuthorizationCredentials(scheme=scheme, credentials=token)
    try:
        user = await get_user(request, None, bearer)
    except HTTPException as error:
        raise NotAuthenticated(f"{error.detail}: log in again (POST /auth/token gives a token)") from error
    if bearer is None and request.method not in SAFE:
        _refuse_other_sites(request)
    return Principal(user.get_name(), _roles(user))


def _roles(user: object) -> frozenset[str]:
    many = getattr(user, "roles", None)  # FAB: role objects
    if many is not None:
        return frozenset(getattr(role, "name", str(role)) for role in many)
    one = getattr(user, "role", None)  # SimpleAuthManager: one name
    return frozenset([str(one)] if one else [])


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
