"""What was read of a source at its last snapshot, so that what has not changed is not read again.

One file a source, in the store's ``index`` folder: each path with its stamp (whatever changes when the content
does; for a local file inode, size, mtime and ctime) and its md5. A lost or damaged index costs time, nothing else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from learnloop.datasets import durable

_MAGIC = "learnloop index 2"

Seen = dict[str, str]
"""Path -> stamp: what a source says of its files without reading them. A stamp begins with the size in bytes."""


def size_in(stamp: str) -> int:
    """The size in bytes that a stamp tells."""
    return int(stamp.partition(" ")[0])


@dataclass(frozen=True)
class Index:
    """Path -> stamp, and path -> md5, of the same files: those which any later change gives another stamp."""

    # Two plain dictionaries of text, not one of tuples: Python's garbage collector does not walk them, and
    # they compare without running Python's own code.
    stamps: Seen = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    def unchanged(self, seen: Seen) -> dict[str, str]:
        """Path -> md5 of the files that need not be read again."""
        if seen == self.stamps:
            return dict(self.hashes)
        stamps, hashes = self.stamps, self.hashes
        return {path: hashes[path] for path, stamp in seen.items() if stamps.get(path) == stamp}


def index_file(root: Path, source: str) -> Path:
    """Where the store at ``root`` keeps the index of a source."""
    return root / "index" / hashlib.sha256(os.fsencode(source)).hexdigest()[:32]


def read_index(path: Path) -> Index:
    """The index in a file; an empty one when there is none or it is damaged."""
    try:
        data = path.read_bytes()
        digest, _, body = data.partition(b"\n")
        if digest.decode() != _checksum(body):
            return Index()
        parts = body.decode().split("\0")
        if parts[0] != _MAGIC:
            return Index()
        paths = parts[1::3]
        return Index(dict(zip(paths, parts[2::3], strict=True)), dict(zip(paths, parts[3::3], strict=True)))
    except (FileNotFoundError, ValueError):
        return Index()


def write_index(path: Path, temporary: Path, index: Index) -> None:
    """Put ``index`` in the place of the file's content, by way of a new file ``temporary`` on the same filesystem."""
    parts = [_MAGIC]
    for name, stamp in index.stamps.items():
        parts += (name, stamp, index.hashes[name])
    body = "\0".join(parts).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(_checksum(body).encode() + b"\n" + body)
        durable.sync([temporary])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _checksum(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
