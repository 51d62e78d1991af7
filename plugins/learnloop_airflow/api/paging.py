"""Cursor paging: newest first by id, at most 200 a page.

Lists select columns, not entities: of a page of fifty, making objects took longer than all the rest.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import BigInteger, Select, bindparam
from sqlalchemy.orm import Session

from learnloop.errors import InvalidInput

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[
    str | None, Query(max_length=300, pattern="^[A-Za-z0-9_-]+$", description="What a page gave as `next`.")
]


Item = dict[str, Any]

_LAST = 2**63 - 1


def newest_first(select: Select[Any], column: Any, *, by_negative: bool = False) -> Select[Any]:
    """``select`` as `page` takes it: descending by ``column``, an integer key that is selected as ``id``.

    Made once for each list, where nothing of the request is in it: making a statement takes longer than asking it.

    Args:
        by_negative: order by ``-column``, for a list with an index of that. PostgreSQL then cannot walk the primary key
            instead, which it believes to be short where it is long: past all the newest rows that the list leaves out.
    """
    before, rows = bindparam("before", type_=BigInteger), bindparam("rows")
    if by_negative:
        return select.where(-column > -before).order_by(-column).limit(rows)
    return select.where(column < before).order_by(column.desc()).limit(rows)


def page(
    session: Session,
    select: Select[Any],
    limit: int,
    cursor: str | None,
    shown: Callable[[Item], Item] | None = None,
    **values: Any,
) -> dict[str, Any]:
    """One page of a `newest_first` statement; see `shapes.paging.Page`. ``values`` are those of its other parameters.

    Each row is a dictionary by column, or what ``shown`` makes of it.
    """
    before = _LAST if cursor is None else _decode(cursor)
    items, more = _rows(session, select, {**values, "before": before, "rows": limit + 1}, limit)
    following = _encode(items[-1]["id"]) if more else None
    return {"items": items if shown is None else [shown(item) for item in items], "next": following}


def page_in_order(session: Session, select: Select[Any], limit: int, cursor: str | None) -> dict[str, Any]:
    """One page of a list with an order of its own, such as a line: the cursor is how many rows came before."""
    skipped = 0 if cursor is None else _decode(cursor)
    items, more = _rows(session, select.offset(skipped).limit(limit + 1), {}, limit)
    return {"items": items, "next": _encode(skipped + limit) if more else None}


def _rows(session: Session, select: Select[Any], values: dict[str, Any], limit: int) -> tuple[list[Item], bool]:
    found = session.execute(select, values)
    columns = tuple(found.keys())
    items = [dict(zip(columns, row, strict=True)) for row in found]
    return items[:limit], len(items) > limit


def number_after(cursor: str | None, most: int = _LAST) -> int | None:
    """The key that ``cursor`` continues after, up to ``most``; None at a list's beginning."""
    return None if cursor is None else _decode(cursor, most)


def name_after(cursor: str | None) -> str:
    """As `number_after`, for a list by name; empty at its beginning."""
    return "" if cursor is None else _text(cursor)


def paged(items: list[Item], limit: int, key: str) -> dict[str, Any]:
    """One page of what is no statement: ``items`` are one more than ``limit`` where there are more."""
    following = str(items[limit - 1][key]) if len(items) > limit else None
    return {"items": items[:limit], "next": None if following is None else _encode(following)}


def _encode(key: int | str) -> str:
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def _decode(cursor: str, most: int = _LAST) -> int:
    text = _text(cursor)
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise InvalidInput(f"cursor {cursor!r} is not one that a list gave")
    return int(text)


def _text(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"cursor {cursor!r} is not one that a list gave") from error
