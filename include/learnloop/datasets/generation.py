"""A number in the store that tells whether anything was collected between two looks at it.

Odd while a collector takes objects away, and when one died doing so: then nothing that was seen counts. Even and
the same as before: nothing was taken away in between.
"""

from __future__ import annotations

import uuid
from pathlib import Path


def read(root: Path) -> int:
    """The generation of the store at ``root``; 0 for one in which nothing was ever collected."""
    try:
        return int((root / "gc" / "generation").read_text())
    except FileNotFoundError:
        return 0


def is_quiet(generation: int) -> bool:
    return generation % 2 == 0


def begin(root: Path) -> None:
    """Say that objects are being taken away from now."""
    now = read(root)
    if is_quiet(now):
        _write(root, now + 1)


def end(root: Path) -> None:
    """Say that no more are."""
    _write(root, read(root) + 1)


def _write(root: Path, generation: int) -> None:
    folder = root / "gc"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / uuid.uuid4().hex
    temporary.write_text(str(generation))
    temporary.replace(folder / "generation")
