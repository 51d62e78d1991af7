"""Who is logged in; whether the server is well."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class SessionItem(BaseModel):
    name: str
    roles: list[str]
    permissions: list[str]


class Refreshed(BaseModel):
    """``access_token`` only for who sent one as Bearer; a browser gets a cookie."""

    expires_at: datetime
    access_token: str | None = None


class LoggedOut(BaseModel):
    logged_out: bool


class Health(BaseModel):
    status: Literal["healthy"]
    version: str
