"""The audit log, for who may read it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime

from learnloop.audit import events
from learnloop.database import AuditEvent, session
from learnloop_airflow.api.paging import Cursor, Limit, Page, page
from learnloop_airflow.api.routing import Routes

routes = Routes()

Text = Annotated[str | None, Query(max_length=250, pattern=r"^[^\x00]*$")]


@routes.add("GET", "/audit", "audit:read")
def list_events(
    user: Text = None,
    action: Text = None,
    since: AwareDatetime | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page:
    """Who did what, newest first; ``action`` is ``login``, ``refresh``, ``logout`` or a method and route."""
    with session() as db:
        rows, following = page(db, events(user=user, action=action, since=since), AuditEvent.id, limit, cursor)
        return Page(items=[_event(row) for row in rows], next=following)


def _event(row: AuditEvent) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": row.created_at,
        "user": row.owner or None,
        "action": row.action,
        "resource": row.resource,
        "outcome": row.outcome,
        "status": row.status,
        "address": row.address,
        "request_id": row.request_id,
    }
