"""Words looked for in all tables of a database, whatever they are called."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import psycopg
from psycopg import sql


def tables_with(db: psycopg.Connection[Any], words: Sequence[str], but: Collection[str] = ()) -> list[str]:
    """The tables that have a row with any of ``words`` in it, but those named ``but``."""
    names = [name for (name,) in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]
    asked = sql.SQL("SELECT EXISTS (SELECT FROM {} AS r, unnest(%s::text[]) AS word WHERE strpos(r::text, word) > 0)")
    found = []
    for name in names:
        row = db.execute(asked.format(sql.Identifier(name)), (list(words),)).fetchone()
        if name not in but and row is not None and row[0]:
            found.append(name)
    return found
