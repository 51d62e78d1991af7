"""Which objects were found whole, so that a checkout need not read every byte of every object each time.

A fact is 44 bytes: an object's md5 and, at the moment its bytes were known to have it, the inode, size, modification
time and mode of its file. A checkout compares; only an object without a matching fact is read to its end.

This finds whatever was written to an object through the filesystem, by whomever, root included: a write changes the
modification time, a replacement the inode, and who makes an object writable first changes its mode. It cannot find
bits that the disk itself has lost, nor a write after which the modification time was set back: ``Store.verify`` and
``Store.read`` do, since they read. (The time of the last inode change would show the latter, but every hardlink that a
checkout makes or a deletion removes moves it too.)

Facts are kept by shard, ``verified/xx`` beside ``files/md5/xx``. They prove themselves: a lost, cut or damaged fact
matches nothing, and costs one more reading.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path

_FACT = struct.Struct("<16sQQqI")
_TICK = 20_000_000  # ns; what was written this recently could be written again without a sign


def fact(name: str, state: os.stat_result) -> bytes:
    """What ``state``, its file's, says of the object ``name`` (an md5 or a tree's hash)."""
    return _FACT.pack(bytes.fromhex(name[:32]), state.st_ino, state.st_size, state.st_mtime_ns, state.st_mode)


class Verified:
    """The facts of one store, under ``root``. Of two writers at once one may lose its facts; no harm is done."""

    def __init__(self, root: Path, temporary: Path) -> None:
        self._root = root
        self._temporary = temporary

    def of(self, shard: str) -> set[bytes]:
        """The facts of the objects whose names begin with ``shard``, two hex digits."""
        try:
            data = (self._root / shard).read_bytes()
        except FileNotFoundError:
            return set()
        return {data[start : start + _FACT.size] for start in range(0, len(data), _FACT.size)}

    def add(self, facts: Iterable[bytes]) -> None:
        """Keep facts in place of older ones of the same objects."""
        settled = time.time_ns() - _TICK
        shards: dict[str, dict[bytes, bytes]] = {}
        for new in facts:
            if _FACT.unpack(new)[3] < settled:
                shards.setdefault(new[:1].hex(), {})[new[:16]] = new
        for shard, news in shards.items():
            self._write(shard, {old for old in self.of(shard) if old[:16] not in news} | set(news.values()))

    def forget(self, name: str) -> None:
        """Drop what is known of an object."""
        digest, known = bytes.fromhex(name[:32]), self.of(name[:2])
        if kept := {old for old in known if old[:16] != digest}:
            self._write(name[:2], kept)
        elif known:
            (self._root / name[:2]).unlink(missing_ok=True)

    def _write(self, shard: str, facts: set[bytes]) -> None:
        # Not synced: facts that a power cut takes or spoils match nothing.
        self._root.mkdir(parents=True, exist_ok=True)
        self._temporary.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary / f"verified-{shard}-{os.getpid()}-{time.monotonic_ns()}"
        temporary.write_bytes(b"".join(facts))
        temporary.replace(self._root / shard)
