"""Whose a token is: asked of Airflow once, and after that only what may have changed.

Airflow checks a token's signature with every request and asks its database, by an object, whether it was revoked: half of
what a small request cost. What a token says, and that it is Airflow's, stays as it is. So that is kept for a minute. Whether
it has ended or was revoked, and who its user is, is asked with each request as before: nothing here opens a moment longer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from airflow import settings as airflow
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api import security
from airflow.configuration import conf
from jwt import InvalidTokenError
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from learnloop.database.liveness import look_before_use
from learnloop_airflow.api.tokens import claims_of

KEPT_SECONDS = 60.0
"""So long a key that Airflow no longer trusts still opens, for who used it before."""
_MOST = 5000
_REVOKED = "SELECT EXISTS (SELECT 1 FROM revoked_token WHERE jti = %s)"


@dataclass(frozen=True)
class _Checked:
    claims: dict[str, Any]
    since: float

    def still(self) -> bool:
        return time.monotonic() - self.since < KEPT_SECONDS and time.time() < self.claims["exp"]


_checked: dict[str, _Checked] = {}


async def user_of(token: str) -> BaseUser:
    """The user of an Airflow token. Whatever is in doubt is for Airflow to say.

    Raises:
        HTTPException: as Airflow's own: it is expired, revoked, or not Airflow's.
    """
    known = _checked.get(token)
    if known is not None and known.still() and _stands(known.claims["jti"]):
        try:
            return get_auth_manager().deserialize_user(known.claims)
        except (ValueError, KeyError):
            pass  # the user is gone, or not active
    _checked.pop(token, None)
    user = await security.resolve_user_from_token(token)
    _keep(token)
    return user


def _keep(token: str) -> None:
    try:
        claims = claims_of(token)
    except InvalidTokenError:
        return  # not one of Airflow's own
    own = type(get_auth_manager()).get_user_from_token is not BaseAuthManager.get_user_from_token
    if own or not {"jti", "exp"} <= claims.keys() or airflow.engine.dialect.driver != "psycopg2":
        return  # another way of asking: theirs
    if len(_checked) >= _MOST:
        for old in [old for old, known in _checked.items() if not known.still()]:
            del _checked[old]
    if len(_checked) < _MOST:
        _checked[token] = _Checked(claims, time.monotonic())


def _stands(jti: str) -> bool:
    """Whether the token was not revoked, by the table that Airflow asks; False also when that cannot be said."""
    try:
        with _asking().connect() as connection:
            return bool(connection.exec_driver_sql(_REVOKED, (jti,)).scalar() is False)
    except SQLAlchemyError:
        return False


@cache
def _asking() -> Engine:
    """Airflow's database, without a transaction around a statement and a ping before it: one round trip, not three, for
    which every other request waits.
    """
    arguments = conf.getimport("database", "sql_alchemy_connect_args", fallback=None) or {}
    made = create_engine(
        airflow.engine.url, connect_args=arguments, pool_size=1, max_overflow=4, isolation_level="AUTOCOMMIT"
    )
    look_before_use(made)
    return made
