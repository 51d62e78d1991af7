"""Statements written as SQL that many requests run."""

from __future__ import annotations

from sqlalchemy import TextualSelect, column, text


def by_position(statement: str, names: str) -> TextualSelect:
    """``statement``, whose result has the columns ``names`` (with commas between them), in this order.

    Of a bare ``text`` SQLAlchemy learns the columns from each result again, which takes as long as fetching it; of this
    one once.
    """
    return text(statement).columns(*(column(name.strip()) for name in names.split(",")))
