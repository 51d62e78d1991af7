"""What was read of a source at its last snapshot, so that what has not changed is not read again.

One file a source, in the store's ``index`` folder: each path with its stamp (whatever changes when the content
does; for a local file inode, size, mtime and ctime) and its md5. A lost or damaged index costs time, nothing else.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from learnloop.datasets import durable
from learnloop.datasets.tree import TreeObject

_MAGIC = "learnloop index 4"

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
    hashes: dict[str, str] = field(default_factory=dict)
    tree: TreeObject | None = None
    """The object of the tree of just these files, in the order of ``hashes``; None: there are others besides."""
    bytes: int = 0
    """The sum of the sizes."""
    shards: dict[str, int] = field(default_factory=dict)
    """Folder of the store -> its mtime, for all that hold these hashes: as long as it is that, nothing has gone."""

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
        tree, size, shards = parts[1].split(" "), int(parts[2]), parts[3].split()
        paths = parts[4::3]
        return Index(
            dict(zip(paths, parts[5::3], strict=True)),
            dict(zip(paths, parts[6::3], strict=True)),
            TreeObject(tree[0], int(tree[1])) if tree[0] else None,
            size,
            dict(zip(shards[::2], map(int, shards[1::2]), strict=True)),
        )
    except (FileNotFoundError, ValueError, IndexError):
        return Index()


def write_index(path: Path, temporary: Path, index: Index) -> None:
    """Put ``index`` in the place of the file's content, by way of a new file ``temporary`` on the same filesystem."""
    tree = f"{index.tree.name} {index.tree.size}" if index.tree else ""
    parts = [_MAGIC, tree, str(index.bytes), " ".join(f"{name} {mtime}" for name, mtime in index.shards.items())]
    for name, md5 in index.hashes.items():
        parts += (name, index.stamps[name], md5)
    body = "\0".join(parts).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(_checksum(body).encode() + b"\n" + body)
        durable.sync([temporary])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _checksum(body: bytes) -> str:
    """Against damage, not against people; read at every snapshot, it has to be quick."""
    return f"{zlib.crc32(body):08x}"
