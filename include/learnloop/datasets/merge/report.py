"""A conflict as it is shown, stored and sent: plain JSON values, and what each strategy would choose and why."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, get_args

from learnloop.datasets.merge.trees import Choice

Strategy = Literal["ours", "theirs", "newest", "most_agreed"]

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
CHOICES: tuple[Choice, ...] = get_args(Choice)


@dataclass(frozen=True)
class Advice:
    """What one strategy would choose, and why."""

    choice: Choice
    reason: str


@dataclass(frozen=True)
class ConflictEntry:
    """One thing to decide.

    ``kind`` is ``file`` (``path``; the values are md5 hashes), ``record`` (``key`` in the table ``path``; ``field`` is
    empty when the whole record is meant) or ``setting`` (``field`` of ``path``, a ``dataset.yaml``). A value is None
    where the thing is not there.
    """

    kind: Literal["file", "record", "setting"]
    path: str
    key: str
    field: str
    base: Any
    ours: Any
    theirs: Any
    newest: Advice
    most_agreed: Advice

    @property
    def suggestion(self) -> Advice:
        """What people agree on counts most; where that says nothing, it falls back to the newest."""
        return self.most_agreed

    @property
    def place(self) -> str:
        """32 hex digits that name what it is about: equal for the same thing in another merge."""
        text = json.dumps([self.kind, self.path, self.key, self.field])
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    @property
    def values(self) -> dict[str, Any]:
        return {"base": self.base, "ours": self.ours, "theirs": self.theirs}

    def chosen_by(self, strategy: Strategy) -> Choice:
        """What ``strategy`` chooses here."""
        if strategy == "newest":
            return self.newest.choice
        return self.most_agreed.choice if strategy == "most_agreed" else strategy

    def as_json(self) -> dict[str, Any]:
        """The entry, with its suggestion, as JSON has it."""
        return {**asdict(self), "suggestion": asdict(self.suggestion)}


def plain(value: Any) -> Any:
    """``value`` as JSON and PostgreSQL have it: times in ISO 8601 (UTC), bytes in hex, what is no number as text."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {plain(str(name)): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)  # NaN, Infinity, -Infinity: which JSON does not know as numbers
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")  # which PostgreSQL's JSON cannot hold
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)
