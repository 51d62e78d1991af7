"""The values of a conflict in words, for people who decide it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING = "—"
SIDES = ("base", "ours", "theirs")


def in_words(values: Mapping[str, Any], field: str | None) -> dict[str, str]:
    """What each side has, as text: of a record's fields only those in which the sides differ.

    Args:
        values: side -> value; a record's is a mapping of its fields, None where the side has none.
        field: the one the conflict is about; its value stands without its name.
    """
    records = [value for value in values.values() if isinstance(value, Mapping)]
    names = {name: None for record in records for name in record}  # in order
    differing = [name for name in names if any(record.get(name) != records[0].get(name) for record in records)]

    def words(value: Any) -> str:
        if value is None:
            return NOTHING
        if not isinstance(value, Mapping):
            return str(value)
        wanted = [name for name in names if name in differing or name == field or len(records) == 1]
        return ", ".join(
            _text(value.get(name)) if name == field else f"{name.replace('_', ' ')} {_text(value.get(name))}"
            for name in wanted
        )

    return {side: words(values.get(side)) for side in SIDES}


def _text(value: Any) -> str:
    return NOTHING if value is None else str(value)
