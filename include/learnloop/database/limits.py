"""Rate limits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base


class RateLimit(Base):
    """How far ahead of time somebody's requests of one kind are: at ``paid_until`` all of them would have been due.

    Unlogged: after a crash of the database server all begin anew, and no request waits for a disk.
    """

    __tablename__ = "rate_limits"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012 - SQLAlchemy's form

    key: Mapped[str] = mapped_column(String(400), primary_key=True)
    paid_until: Mapped[datetime]
