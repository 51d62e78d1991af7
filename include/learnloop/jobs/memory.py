"""Amounts of memory in Kubernetes' notation, and how much more the next attempt gets after one that ran out of it."""

from __future__ import annotations

import json
from pathlib import Path

from learnloop.jobs.checksums import write_beside
from learnloop.jobs.contract import MEMORY

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def bytes_of(quantity: str) -> int:
    """``"512Mi"`` as bytes.

    Raises:
        ValueError: it is neither a whole number nor one with Ki, Mi, Gi or Ti.
    """
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return int(quantity.removesuffix(unit)) * factor
    return int(quantity)


def quantity_of(amount: int) -> str:
    """``amount`` bytes in the largest unit that keeps it whole."""
    for unit, factor in reversed(UNITS.items()):
        if amount and amount % factor == 0:
            return f"{amount // factor}{unit}"
    return str(amount)


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
