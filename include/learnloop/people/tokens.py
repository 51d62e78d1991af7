"""Which tokens somebody has that are still good: by their ids, noted when they were given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import IssuedToken


def note(session: Session, owner: str, claims: Mapping[str, Any]) -> None:
    """Note that ``owner`` was given the token with these claims (``jti``, ``exp``)."""
    values = {"jti": claims["jti"], "owner": owner, "expires_at": datetime.fromtimestamp(claims["exp"], tz=UTC)}
    session.execute(insert(IssuedToken).values(**values).on_conflict_do_nothing())


def live(session: Session, owner: str) -> list[IssuedToken]:
    """The tokens of ``owner`` that have not expired. Some of them may have been revoked."""
    wanted = select(IssuedToken).where(IssuedToken.owner == owner, IssuedToken.expires_at > func.now())
    return list(session.scalars(wanted.order_by(IssuedToken.expires_at)))


def forget_expired(session: Session) -> None:
    session.execute(delete(IssuedToken).where(IssuedToken.expires_at < func.now()))
