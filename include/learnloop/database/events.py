"""What people are told: events of their runs, how far their jobs are, where else they want to hear of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Json, Owned

EVENTS_CHANNEL = "learnloop_events"
"""The PostgreSQL channel of news: its payload is the topic (`learnloop.events.log`)."""


class Event(Owned, Base):
    """Something that ``owner`` is told. Ids follow the order of commits: who has read up to one misses none before it."""

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("kind IN ('admitted', 'needs_answer', 'finished', 'failed', 'warning')", name="kind"),
        Index("ix_events_owner_id", "owner", "id"),
        Index("ix_events_created_at", "created_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    key: Mapped[str] = mapped_column(String(600), unique=True)  # told once
    text: Mapped[str] = mapped_column(Text)
    link: Mapped[str] = mapped_column(Text, default="")
    dag_id: Mapped[str] = mapped_column(String(250), default="")
    run_id: Mapped[str] = mapped_column(String(250), default="")


class EventDelivery(Base):
    """An event that somebody wants to be told of elsewhere. Written with the event; at least one try, until it is sent."""

    __tablename__ = "event_deliveries"
    __table_args__ = (
        CheckConstraint("channel IN ('mail', 'webhook')", name="channel"),
        Index("ix_event_deliveries_waiting", "next_try_at", postgresql_where=text("sent_at IS NULL")),
    )

    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[str] = mapped_column(String(10), primary_key=True)
    address: Mapped[str] = mapped_column(Text)
    tries: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(Text, default="")
    next_try_at: Mapped[datetime | None] = mapped_column(server_default=func.now())  # None: given up
    sent_at: Mapped[datetime | None]

    event: Mapped[Event] = relationship()


class NotificationSettings(Base):
    """Where one person wants to be told, beside the event stream, and of what."""

    __tablename__ = "notification_settings"

    owner: Mapped[str] = mapped_column(String(250), primary_key=True)
    mail: Mapped[str | None] = mapped_column(String(320))
    webhook: Mapped[str | None] = mapped_column(Text)
    kinds: Mapped[Json] = mapped_column(default=dict)  # {"finished": true, ...}
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class JobProgress(Owned, Base):
    """The newest line that a task's job wrote into its ``progress.jsonl``."""

    __tablename__ = "job_progress"
    __table_args__ = (Index("ix_job_progress_updated_at", "updated_at"),)

    dag_id: Mapped[str] = mapped_column(String(250), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(250), primary_key=True)
    task_id: Mapped[str] = mapped_column(String(250), primary_key=True)
    map_index: Mapped[int] = mapped_column(primary_key=True)
    line: Mapped[Json]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
