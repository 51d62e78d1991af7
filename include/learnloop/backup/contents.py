"""What one backup holds."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from learnloop.errors import Corrupted, InvalidInput

FORMAT = 1
NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True)
class File:
    """Bytes by their sha256, and where they belong: below ``root`` (`gathering.roots_of`); or a dump or bundle."""

    root: str
    path: str
    size: int
    sha256: str
    mode: int = 0o644
    mtime_ns: int = 0


@dataclass(frozen=True)
class Dump:
    """A database, as ``pg_dump -Fc`` writes it."""

    database: str
    file: File
    revision: str
    """Its Alembic revision."""
    server: str
    """PostgreSQL's version."""


@dataclass
class Contents:
    """The list. Objects are md5 -> size in bytes; those of ``remote`` belong there (the warm tier), not into the store."""

    dumps: list[Dump] = field(default_factory=list)
    objects: dict[str, int] = field(default_factory=dict)
    remote: dict[str, int] = field(default_factory=dict)
    bundles: list[File] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)
    """What is needed and could not be had anywhere, and why."""

    def all_objects(self) -> dict[str, int]:
        return {**self.remote, **self.objects}

    def all_files(self) -> list[File]:
        return [*(dump.file for dump in self.dumps), *self.bundles, *self.files]

    @property
    def size(self) -> int:
        """In bytes, of all."""
        return sum(self.all_objects().values()) + sum(file.size for file in self.all_files())

    def dumped(self) -> bytes:
        return gzip.compress(json.dumps(asdict(self)).encode(), compresslevel=3, mtime=0)

    @classmethod
    def loaded(cls, data: bytes) -> Contents:
        found = json.loads(gzip.decompress(data))
        dumps = [Dump(**{**one, "file": File(**one["file"])}) for one in found.pop("dumps")]
        bundles, files = ([File(**one) for one in found.pop(kind)] for kind in ("bundles", "files"))
        return cls(dumps=dumps, bundles=bundles, files=files, **found)


@dataclass(frozen=True)
class Head:
    """What is written last: that a backup is complete, and where its contents are listed."""

    name: str
    started_at: str
    finished_at: str
    product: str
    """Learnloop's version."""
    revisions: dict[str, str]
    """By database."""
    contents: File
    objects: int
    size: int
    """In bytes, of all."""
    new_bytes: int
    """How much of it was copied for this backup; the rest was there."""
    roots: dict[str, str]
    """Where files were on the machine that was backed up."""
    counts: dict[str, int]
    """What is in it, in the words of the platform."""
    notes: tuple[str, ...] = ()
    """What is not in it, and why."""
    lacking: int = 0
    format: int = FORMAT

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.started_at)

    def dumped(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def loaded(cls, name: str, data: bytes) -> Head:
        """Raises Corrupted or InvalidInput when this code cannot read it."""
        try:
            found: dict[str, Any] = json.loads(data)
        except ValueError as error:
            raise Corrupted(f"the head of backup {name} is damaged: {error}") from error
        if found.get("format") != FORMAT:
            raise InvalidInput(
                f"backup {name} has format {found.get('format')}, and this Learnloop reads {FORMAT}:"
                f" use the version that made it ({found.get('product')})"
            )
        found["contents"] = File(**found["contents"])
        found["notes"] = tuple(found["notes"])
        head = cls(**found)
        if head.name != name:
            raise Corrupted(f"the head called {name} is that of backup {head.name}")
        return head
