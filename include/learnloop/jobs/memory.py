"""How much more memory the next attempt gets after one that ran out of it."""

from __future__ import annotations

import json
from pathlib import Path

from learnloop.jobs.checksums import write_beside
from learnloop.jobs.contract import MEMORY
from learnloop.jobs.quantities import bytes_of, quantity_of


def more(given: str, cap: str) -> str | None:
    """Twice ``given``, at most ``cap``; None when it has that much already."""
    amount = min(2 * bytes_of(given), bytes_of(cap))
    return quantity_of(amount) if amount > bytes_of(given) else None


def remember(results: Path, memory: str) -> None:
    """Leave for the next attempt how much memory it is to ask for."""
    write_beside(results / MEMORY, json.dumps({"memory": memory}))


def needed(results: Path, asked: str, cap: str) -> str:
    """What an attempt asks for: what the spec says, or more (up to ``cap``) when an earlier attempt ran out of that."""
    try:
        found = str(json.loads((results / MEMORY).read_text(encoding="utf-8"))["memory"])
        wanted = min(bytes_of(found), bytes_of(cap))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return asked  # there is none, or the job has written there
    return quantity_of(wanted) if wanted > bytes_of(asked) else asked
