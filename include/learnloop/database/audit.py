"""The audit log."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base, Owned


class AuditEvent(Owned, Base):
    """Who (``owner``; empty: nobody knows) did what to what, when (``created_at``), from where, and what came of it.

    ``outcome``: ``ok``, ``refused`` (401, 403), ``failed``, or ``started``: work whose end nobody has told yet.
    No secret is in it: no body, no query, no token; a user name that failed to log in only if it did log in once.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("outcome IN ('started', 'ok', 'refused', 'failed')", name="outcome"),
        Index("ix_audit_events_owner_id", "owner", "id"),
        Index("ix_audit_events_action_id", "action", "id"),
        Index("ix_audit_events_created_at", "created_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    action: Mapped[str] = mapped_column(String(200))  # "login", "POST /datasets/{name}/lock", ...
    resource: Mapped[str] = mapped_column(Text)  # the path it was asked of
    outcome: Mapped[str] = mapped_column(String(10))
    status: Mapped[int]  # of HTTP
    address: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
