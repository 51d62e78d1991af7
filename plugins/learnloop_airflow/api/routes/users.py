"""People: how somebody leaves. Who they are, and whether they may log in, is Airflow's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from learnloop.database import IssuedToken, session
from learnloop.people.offboarding import Report, find, offboard, successor
from learnloop.settings import settings
from learnloop_airflow.api import audited, tokens
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import Body, line
from learnloop_airflow.api.routing import Lines, Routes
from learnloop_airflow.api.streaming import Progress, stream

routes = Routes()


Person = Annotated[str, line(least=1, most=250)]


class Leaving(Body):
    """``to`` gets what is theirs, or ``archive``."""

    name: Person
    to: Person | None = None
    archive: bool = False
    dry_run: bool = False


@routes.add("POST", "/users/offboard", "user:write", result=Report, errors=(409,))
def offboard_user(leaving: Leaving, caller: Caller) -> Lines:
    """Revoke somebody's tokens, give back what they hold, hand over what is theirs; again does no harm."""
    namespaces = settings().namespaces
    with session() as db:
        to = successor(db, leaving.name, to=leaving.to, archive=leaving.archive, by=caller.name)
    entry = audited.current()
    if entry is not None:
        entry.resource += f" {leaving.name} to {to}{' (dry run)' if leaving.dry_run else ''}"

    def work(progress: Progress) -> dict[str, Any]:
        if leaving.dry_run:
            with session() as db:
                return {**asdict(find(db, leaving.name, to, namespaces)), "dry_run": True}
        done = offboard(session, leaving.name, to, namespaces=namespaces, revoke=_revoke)
        return {**asdict(done), "dry_run": False}

    return stream(work)


def _revoke(token: IssuedToken) -> None:
    tokens.end({"jti": token.jti, "exp": token.expires_at.timestamp()})
