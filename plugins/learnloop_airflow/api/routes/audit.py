"""The audit log, for who may read it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import func

from learnloop.audit import events
from learnloop.database import AuditEvent, reading
from learnloop_airflow.api.fields import Moment
from learnloop_airflow.api.paging import Cursor, Limit, newest_first, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.events import EventItem
from learnloop_airflow.api.shapes.paging import Page

routes = Routes()

Text = Annotated[str | None, Query(max_length=250, pattern=r"^[^\x00]*$")]


_COLUMNS = (
    AuditEvent.id,
    AuditEvent.created_at.label("at"),
    func.nullif(AuditEvent.owner, "").label("user"),
    AuditEvent.action,
    AuditEvent.resource,
    AuditEvent.outcome,
    AuditEvent.status,
    AuditEvent.address,
    AuditEvent.request_id,
)


@routes.add("GET", "/audit", "audit:read", response_model=Page[EventItem])
def list_events(
    user: Text = None,
    action: Text = None,
    since: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Who did what, newest first; ``action`` is ``login``, ``refresh``, ``logout`` or a method and route."""
    wanted = newest_first(events(user=user, action=action, since=since).with_only_columns(*_COLUMNS), AuditEvent.id)
    with reading() as db:
        return page(db, wanted, limit, cursor)
