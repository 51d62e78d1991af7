"""Who am I, and is the platform well?"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from learnloop import __version__
from learnloop.database import session
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.routing import Routes

routes = Routes()


@routes.add("GET", "/session", "session:read")
def who_am_i(caller: Caller) -> dict[str, Any]:
    """The caller's name, roles, and what they may do."""
    return {"name": caller.name, "roles": sorted(caller.roles), "permissions": sorted(caller.permissions)}


@routes.add("GET", "/health", "session:read")
def health() -> dict[str, str]:
    """Answers when the API can read its database."""
    with session() as db:
        db.execute(text("SELECT 1"))
    return {"status": "healthy", "version": __version__}
