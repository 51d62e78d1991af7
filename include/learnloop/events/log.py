"""The events: told once, read in order, forgotten after a while."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult, Select, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import EVENTS_CHANNEL, Event, EventDelivery, NotificationSettings, session

KINDS = {
    "admitted": "a job got its place and begins",
    "needs_answer": "a run waits for a person's answer",
    "finished": "a run ended well",
    "failed": "a run failed",
    "warning": "a job is going to fail if it goes on like this",
}
KEPT_DAYS = 90


def topic_of_user(name: str) -> str:
    return f"user {name}"


def topic_of_run(dag_id: str, run_id: str) -> str:
    return f"run {dag_id} {run_id}"


def tell(
    owner: str, kind: str, text_: str, *, key: str, link: str = "", dag_id: str = "", run_id: str = ""
) -> int | None:
    """Tell ``owner`` something, in a transaction of its own. Returns the event's id; None when ``key`` was told before.

    With the event, in the same transaction, is written where else it is to be sent (`learnloop.events.delivery`).
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of event {kind!r}")
    with session() as db:
        # One at a time: so a smaller id never commits after a larger one, and a reader who has seen n misses none before.
        db.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('learnloop events', 0))"))
        values = {"owner": owner, "kind": kind, "text": text_, "key": key[:600], "link": link}
        row = insert(Event).values(**values, dag_id=dag_id, run_id=run_id)
        made = db.scalar(row.on_conflict_do_nothing(index_elements=["key"]).returning(Event.id))
        if made is None:
            return None
        wanted = db.get(NotificationSettings, owner)
        if wanted is not None and wanted.kinds.get(kind):
            for channel, address in (("mail", wanted.mail), ("webhook", wanted.webhook)):
                if address:
                    db.add(EventDelivery(event_id=made, channel=channel, address=address))
        notify(db, topic_of_user(owner))
        if run_id:
            notify(db, topic_of_run(dag_id, run_id))
        return int(made)


def notify(db: Session, topic: str) -> None:
    """Wake who listens for ``topic``, when this transaction commits."""
    db.execute(select(func.pg_notify(EVENTS_CHANNEL, topic)))


def events_of(owner: str) -> Select[Any]:
    return select(Event).where(Event.owner == owner)


def after(db: Session, owner: str, last: int, limit: int = 100) -> list[Event]:
    """The events of ``owner`` that came after the one with the id ``last``, oldest first."""
    return list(db.scalars(events_of(owner).where(Event.id > last).order_by(Event.id).limit(limit)))


def newest(db: Session, owner: str) -> int:
    """The id of the newest event of ``owner``; 0 when there is none."""
    return db.scalar(select(func.max(Event.id)).where(Event.owner == owner)) or 0


def forget(db: Session, days: int = KEPT_DAYS) -> int:
    """Delete events older than ``days``, with what was to be sent of them; returns how many."""
    old = Event.created_at < func.now() - func.make_interval(0, 0, 0, days)
    return cast("CursorResult[Any]", db.execute(delete(Event).where(old))).rowcount
