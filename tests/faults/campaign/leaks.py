"""8: no secret is in a log, nor in clear in a table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from .rows import tables_with
from .stack import Stack

AT_ONCE = 2**20
SHORTEST = 12
"""A shorter word may be in a log for other reasons."""


def leaked(db: psycopg.Connection[Any], mlflow: psycopg.Connection[Any], stack: Stack) -> list[str]:
    """Where a secret of the stack is that must not be there; which one is not said."""
    secrets = sorted({secret for secret in stack.secrets if len(secret) >= SHORTEST})
    if not secrets:
        return []
    problems = [f"a secret is in the log {path}" for path in _files(stack.logs) if _has(path, secrets)]
    for database in (db, mlflow):
        problems += [f"a secret is in clear in the table {name}" for name in tables_with(database, secrets)]
    return problems


def secrets_in(folder: Path) -> Iterator[str]:
    """What the files of a folder of secrets say: a word, a document's values, a key's lines. An address has its word in a
    file of its own.
    """
    for path in sorted(folder.iterdir()):
        text = path.read_text()
        if path.suffix == ".json":
            yield from re.findall(r'":\s*"([^"]+)"', text)
        elif path.name.endswith("key.pem"):
            yield from (line for line in text.splitlines() if not line.startswith("-----"))
        elif len(text.split()) == 1 and "://" not in text:
            yield text.strip()


def _files(places: tuple[Path, ...]) -> Iterator[Path]:
    for place in places:
        yield from [place] if place.is_file() else (path for path in place.rglob("*") if path.is_file())


def _has(path: Path, secrets: list[str]) -> bool:
    """A log may be as long as it likes."""
    wanted = re.compile(b"|".join(re.escape(secret.encode()) for secret in secrets))
    overlap = max(len(secret.encode()) for secret in secrets)
    before = b""
    try:
        with path.open("rb") as file:
            while block := file.read(AT_ONCE):
                if wanted.search(before + block):
                    return True
                before = block[-overlap:]
    except FileNotFoundError:  # removed since it was listed
        return False
    return False
