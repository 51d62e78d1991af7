"""When backups were taken, and what became of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base


class BackupRun(Base):
    """One backup that was begun.

    ``state``: ``running`` (or killed), ``complete``, ``lacking`` (complete but for objects that could not be had),
    ``failed``. ``finished_at`` is set for ``complete`` alone: the newest is when the last good backup ended.
    """

    __tablename__ = "backups"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'complete', 'lacking', 'failed')", name="state"),
        CheckConstraint("(state = 'complete') = (finished_at IS NOT NULL)", name="finished"),
        Index("ix_backups_finished_at", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    place: Mapped[str] = mapped_column(Text)  # without credentials
    state: Mapped[str] = mapped_column(String(10), default="running")
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    objects: Mapped[int | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    new_bytes: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(String(250))
