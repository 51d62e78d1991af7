"""The outbox and the memory of idempotent requests."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base, Json, Owned

OUTBOX_CHANNEL = "learnloop_outbox"
"""The PostgreSQL channel that is notified when a transaction with outbox rows commits."""


class OutboxMessage(Owned, Base):
    """Something that has happened, written in the same transaction as what it tells of."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_undelivered", "id", postgresql_where=text("delivered_at IS NULL")),)

    id: Mapped[int] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(String(100))  # "round.requested", ...
    key: Mapped[str] = mapped_column(String(250), unique=True)  # e.g. "round-digits-3": told once
    payload: Mapped[Json] = mapped_column(default=dict)
    delivered_at: Mapped[datetime | None]


class IdempotentRequest(Owned, Base):
    """The answer to a write that carried ``Idempotency-Key``; the same request gets the same answer."""

    __tablename__ = "idempotent_requests"
    __table_args__ = (Index("uq_idempotent_requests_owner_key", "owner", "key", unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(250))
    request: Mapped[str] = mapped_column(Text)  # method, path and a hash of the body
    status: Mapped[int]
    response: Mapped[Json] = mapped_column(default=dict)
