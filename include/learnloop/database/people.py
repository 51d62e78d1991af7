"""Tokens that were given to people."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base, Owned


class IssuedToken(Owned, Base):
    """That ``owner`` was given a token: its id, which opens nothing, so that it can be revoked without being at hand."""

    __tablename__ = "issued_tokens"
    __table_args__ = (Index("ix_issued_tokens_owner_expires_at", "owner", "expires_at"),)

    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime]
