"""What people are told, as a list and as it happens, and where else they want to hear of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field
from sqlalchemy import bindparam, select
from starlette.concurrency import run_in_threadpool

from learnloop.database import Event, EventDelivery, reading, session
from learnloop.events.log import after, newest, topic_of_user
from learnloop.events.preferences import choose, chosen
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.etags import IfMatch, etag_of, require
from learnloop_airflow.api.fields import Body
from learnloop_airflow.api.live import For, told
from learnloop_airflow.api.paging import Cursor, Item, Limit, newest_first, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.events import NotificationsItem, ToldItem
from learnloop_airflow.api.shapes.paging import Page

routes = Routes()

EventId = Annotated[int | None, Query(ge=0, lt=2**63)]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,18}$")]


_EVENTS = newest_first(
    select(
        Event.id, Event.created_at.label("at"), Event.kind, Event.text, Event.link, Event.dag_id, Event.run_id
    ).where(Event.owner == bindparam("owner")),
    Event.id,
)


class Notifications(Body):
    """Where you are told of events, beside the stream; of which kinds."""

    mail: str | None = Field(default=None, max_length=320)
    webhook: str | None = Field(default=None, max_length=2000)
    kinds: list[str] = Field(default=["admitted", "needs_answer", "finished", "failed", "warning"], max_length=10)


@routes.add("GET", "/events", "session:read", response_model=Page[ToldItem])
def list_events(caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """What you were told, newest first, and where it was sent."""
    with reading() as db:
        found = page(db, _EVENTS, limit, cursor, _told, owner=caller.name)
        sent: dict[int, list[dict[str, Any]]] = {item["id"]: [] for item in found["items"]}
        for delivery in db.scalars(select(EventDelivery).where(EventDelivery.event_id.in_(sent))):
            sent[delivery.event_id].append(_delivery(delivery))
        return {**found, "items": [{**item, "sent": sent[item["id"]]} for item in found["items"]]}


@routes.add("GET", "/events/stream", "session:read", response_class=EventSourceResponse)
async def stream_events(
    request: Request, caller: Caller, after_id: EventId = None, last_event_id: LastEventId = None, seconds: For = 600
) -> AsyncIterator[ServerSentEvent]:
    """What you are told, as it happens: ``event`` is the kind, ``id`` resumes (``Last-Event-ID``, or ``after_id``)."""
    start = int(last_event_id) if last_event_id else after_id
    last = start if start is not None else await run_in_threadpool(_newest, caller.name)

    def look() -> list[ServerSentEvent]:
        nonlocal last
        with reading() as db:
            rows = after(db, caller.name, last)
            found = [ServerSentEvent(id=str(row.id), event=row.kind, data=_event(row)) for row in rows]
        last = rows[-1].id if rows else last
        return found

    async for event in told(request, caller.name, topic_of_user(caller.name), look, every=15, seconds=seconds):
        yield event


@routes.add("GET", "/session/notifications", "session:read", response_model=NotificationsItem)
def get_notifications(caller: Caller, response: Response) -> dict[str, Any]:
    """Where the caller is told of events beside the streams."""
    with reading() as db:
        found = _chosen(db, caller.name)
    response.headers["ETag"] = etag_of(found)
    return found


@routes.add("PUT", "/session/notifications", "session:write", response_model=NotificationsItem, errors=(412,))
def put_notifications(
    wanted: Notifications, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Choose; with ``If-Match`` only if they are still what you saw."""
    with session() as db:
        require(if_match, etag_of(_chosen(db, caller.name)), "what you chose")
        choose(
            db,
            caller.name,
            mail=wanted.mail,
            webhook=wanted.webhook,
            kinds=wanted.kinds,
            webhook_hosts=settings().webhook_hosts,
        )
        found = _chosen(db, caller.name)
    response.headers["ETag"] = etag_of(found)
    return found


def _newest(name: str) -> int:
    with reading() as db:
        return newest(db, name)


def _chosen(db: Any, name: str) -> dict[str, Any]:
    found = chosen(db, name)
    return {"mail": found.mail, "webhook": found.webhook, "kinds": list(found.kinds)}


def _told(item: Item) -> Item:
    return {**item, **{name: item[name] or None for name in ("link", "dag_id", "run_id")}}


def _event(row: Event) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": row.created_at.isoformat(),
        "kind": row.kind,
        "text": row.text,
        "link": row.link or None,
        "dag_id": row.dag_id or None,
        "run_id": row.run_id or None,
    }


def _delivery(row: EventDelivery) -> dict[str, Any]:
    return {
        "channel": row.channel,
        "address": row.address,
        "sent_at": row.sent_at,
        "tries": row.tries,
        "error": row.error or None,
        "given_up": row.sent_at is None and row.next_try_at is None,
    }
