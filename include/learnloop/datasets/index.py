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
from typing import NamedTuple

from learnloop.datasets import durable

_MAGIC = "learnloop index 1"
_TICK = 20_000_000  # ns; a kernel's clock for files advances every 1 to 10 ms
_COARSE_TICK = 2_000_000_000  # ns; filesystems that keep whole seconds, FAT even ones


class Seen(NamedTuple):
    """What a source says of one file without reading it."""

    size: int
    """Bytes."""
    stamp: str
    """Changes when the content does; empty when nothing such is known, and then the file is always read."""
    newest: int
    """When the file last changed in ns since 1970, by a clock that may stand still for a moment; 0 when the stamp
    is made of the content itself."""


@dataclass(frozen=True)
class Index:
    """Path -> (stamp, md5), and the time in ns since 1970 at which reading them began."""

    time: int = 0
    entries: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def unchanged(self, seen: Mapping[str, Seen]) -> dict[str, str]:
        """Path -> md5 of the files that need not be read again.

        A file that changed at, or just before, the time of the index may have been written once more within the
        same tick of the clock and look the same: as in git, it counts as changed.
        """
        entries, limit, limit_of_coarse = self.entries, self.time - _TICK, self.time - _COARSE_TICK
        known = {}
        for path, (_, stamp, newest) in seen.items():
            entry = entries.get(path)
            if entry is None or entry[0] != stamp or not stamp:
                continue
            if newest < limit_of_coarse or (newest < limit and newest % 1_000_000_000):
                known[path] = entry[1]
        return known


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
        head, time, *parts = body.decode("utf-8", "surrogateescape").split("\0")
    except (FileNotFoundError, ValueError):
        return Index()
    if head != _MAGIC:
        return Index()
    return Index(int(time), dict(zip(parts[0::3], zip(parts[1::3], parts[2::3], strict=True), strict=True)))


def write_index(path: Path, temporary: Path, index: Index) -> None:
    """Put ``index`` in the place of the file's content, by way of a new file ``temporary`` on the same filesystem."""
    parts = [_MAGIC, str(index.time)]
    for name, (stamp, md5) in index.entries.items():
        parts += (name, stamp, md5)
    body = "\0".join(parts).encode("utf-8", "surrogateescape")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(_checksum(body).encode() + b"\n" + body)
        durable.sync([temporary])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _checksum(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
