"""The audit log, for who may read it."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, BeforeValidator

from learnloop.audit import events
from learnloop.database import AuditEvent, session
from learnloop_airflow.api.paging import Cursor, Limit, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes import EventItem, Page

routes = Routes()

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ].+")


def _not_a_number(text: Any) -> Any:
    if isinstance(text, str) and not _TIME.fullmatch(text):
        raise ValueError("must be an ISO time with its zone, such as 2026-05-01T00:00:00Z")
    return text


Moment = Annotated[AwareDatetime | None, BeforeValidator(_not_a_number)]
Text = Annotated[str | None, Query(max_length=250, pattern=r"^[^\x00]*$")]


@routes.add("GET", "/audit", "audit:read", response_model=Page[EventItem])
def list_events(
    user: Text = None,
    action: Text = None,
    since: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Who did what, newest first; ``action`` is ``login``, ``refresh``, ``logout`` or a method and route."""
    with session() as db:
        wanted = events(user=user, action=action, since=since)
        return page(db, wanted, AuditEvent.id, limit, cursor, _event)


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
