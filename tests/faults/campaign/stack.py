"""Where the checker finds things of a stack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx


@dataclass
class Stack:
    """Where things are."""

    url: str
    token: str
    learnloop: str
    """libpq addresses of the databases"""
    mlflow: str
    store: Path
    home: Path
    inside: Path | None = None
    """Where the platform's processes see ``home``, if elsewhere."""
    stranger: str = ""
    """A token of a scientist who owns nothing; without one nobody tries to get at what is others'."""
    secrets: tuple[str, ...] = ()
    """What must be in no log and no table,"""
    logs: tuple[Path, ...] = ()
    """and the logs, or folders of logs, that there are."""

    @property
    def namespaces(self) -> Path:
        return self.home / "namespaces"

    def seen_from_here(self, path: str) -> Path:
        return Path(path) if self.inside is None else self.home / Path(path).relative_to(self.inside)

    def place(self, name: str) -> Path:
        """The file of an object of the store."""
        return self.store / "files" / "md5" / name[:2] / name[2:]

    def object(self, name: str) -> bytes:
        return self.place(name).read_bytes()

    def tree(self, name: str) -> dict[str, str]:
        """The objects of a version's files, by path."""
        return {entry["relpath"]: entry["md5"] for entry in json.loads(self.object(name))}

    def get(self, path: str) -> Any:
        """Of the HTTP API. Raises `httpx.HTTPError`."""
        answer = httpx.get(self.url + path, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)
        answer.raise_for_status()
        return answer.json()
