"""Cursor paging: newest first by id, at most 200 a page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import Select
from sqlalchemy.orm import Session

from learnloop.errors import InvalidInput

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[
    str | None, Query(max_length=64, pattern="^[A-Za-z0-9_-]+$", description="What a page gave as `next`.")
]


def page(
    session: Session, select: Select[Any], column: Any, limit: int, cursor: str | None, shown: Callable[[Any], Any]
) -> dict[str, Any]:
    """One page of ``select``, descending by ``column`` (an integer key), each row as ``shown``; see `shapes.Page`.

    What ``shown`` reads of other tables must be loaded with the rows, not row by row: options of ``select`` say so.
    """
    if cursor is not None:
        select = select.where(column < _decode(cursor))
    rows = list(session.scalars(select.order_by(column.desc()).limit(limit + 1)))
    more = len(rows) > limit
    rows = rows[:limit]
    following = _encode(getattr(rows[-1], column.key)) if more else None
    return {"items": [shown(row) for row in rows], "next": following}


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
