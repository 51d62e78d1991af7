"""Cursor paging: newest first by id, at most 200 a page."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Select
from sqlalchemy.orm import Session

from learnloop.errors import InvalidInput

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=64)]


class Page(BaseModel):
    """``next`` is the cursor of the following page, or null."""

    items: list[dict[str, Any]]
    next: str | None


def page(
    session: Session, select: Select[Any], column: Any, limit: int, cursor: str | None
) -> tuple[list[Any], str | None]:
    """One page of ``select``, descending by ``column`` (an integer key), and the cursor of the next."""
    if cursor is not None:
        select = select.where(column < _decode(cursor))
    rows = list(session.scalars(select.order_by(column.desc()).limit(limit + 1)))
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, _encode(getattr(rows[-1], column.key)) if more else None


def _encode(key: int) -> str:
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def _decode(cursor: str) -> int:
    try:
        key = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"cursor {cursor!r} is not one that a list gave") from error
    if not 0 <= key < 2**63:
        raise InvalidInput(f"cursor {cursor!r} is not one that a list gave")
    return key
