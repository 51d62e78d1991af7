"""Putting objects where files of a checkout go: by link, clone or copy, checked."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.datasets import copies
from learnloop.datasets.parallel import shared
from learnloop.datasets.verified import fact
from learnloop.datasets.writing import md5_of_bytes

if TYPE_CHECKING:
    from learnloop.datasets.adding import Progress
    from learnloop.datasets.store import Store

_LARGE = 1 << 20  # from here on copying beside the next file saves time
_SHAREABLE = 10_000  # files; from here on a process of its own for half of them saves time
_ROUND = 64  # folders of the store, of 256, after which it is said how far it is

_Shard = list[tuple[str, str]]
"""(name, path) of the objects in one folder of the store."""


def place_files(
    store: Store, wanted: Mapping[str, str], folder: Path, *, writable: bool, progress: Progress | None = None
) -> None:
    """Put the objects of ``wanted`` (path -> md5) into ``folder``, in which the folders of the paths exist.

    Raises:
        NotFound, Corrupted: an object is missing or damaged.
    """
    # By shard, so that its folder is looked up once and its facts are held one shard at a time.
    shards = _by_shard(wanted)

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, len(wanted))

    if len(wanted) < _SHAREABLE:
        _place(store, folder, writable, shards, tell)
        return
    done = 0
    for start in range(0, len(shards), _ROUND):
        some = shards[start : start + _ROUND]
        shared(partial(_place, store, folder, writable), some)
        done += sum(map(len, some))
        tell(done)


def _place(
    store: Store, folder: Path, writable: bool, shards: Sequence[_Shard], tell: Callable[[int], None] | None = None
) -> None:
    placer = _Placer(store, folder, writable)
    done = 0
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        try:
            for names in shards:
                placer.place_shard(names, pool)
                done += len(names)
                if tell is not None:
                    tell(done)
            placer.finish()
        finally:
            pool.shutdown(cancel_futures=True)


class _Placer:
    def __init__(self, store: Store, folder: Path, writable: bool) -> None:
        self.store = store
        self.folder = folder
        self.writable = writable
        # Whether the two filesystems allow it; found out by the first file.
        self.can_link = not writable
        self.can_clone = True
        self.new_facts: list[bytes] = []
        self.waiting: list[Future[bool]] = []  # copies of large files

    def place_shard(self, names: _Shard, pool: ThreadPoolExecutor) -> None:
        """Place the objects of one folder of the store."""
        first = names[0][0]
        if not self.store.path_of(first).parent.is_dir():
            raise self.store.missing(first)
        facts = self.store.verified.of(first[:2])
        with _opened(self.store.path_of(first).parent) as source, _opened(self.folder) as target:
            for name, path in names:
                try:
                    state = os.stat(name[2:], dir_fd=source)
                except FileNotFoundError as error:
                    raise self.store.missing(name) from error
                new = fact(name, state)
                if self.can_link:
                    if new not in facts:
                        # `new` is from before the reading: a write after it makes it untrue, so it is read again.
                        self.store.verify(name)
                        facts.add(new)
                        self.new_facts.append(new)
                    if self._link(name, path, source, target):
                        continue
                if self.can_clone:
                    self.can_clone = self._copy(name, path, clone=True, known=new in facts)
                elif state.st_size >= _LARGE:
                    self.waiting.append(pool.submit(self._copy, name, path, clone=False))
                else:
                    self._copy_small(name, path, source, target)

    def finish(self) -> None:
        """Wait for the copies of large files, and keep what was found of the objects."""
        for future in self.waiting:
            future.result()
        self.store.verified.add(self.new_facts)

    def _link(self, name: str, path: str, source: int, target: int) -> bool:
        try:
            os.link(name[2:], path, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno not in copies.NO_LINK:
                raise
            self.can_link = error.errno == errno.EMLINK  # one object has too many names; the next may still be linked
            return False
        return True

    def _copy(self, name: str, path: str, *, clone: bool, known: bool = False) -> bool:
        cloned = self.store.copy_to(name, self.folder / path, clone=clone, known=known)
        if not self.writable:
            (self.folder / path).chmod(0o444)
        return cloned

    def _copy_small(self, name: str, path: str, source: int, target: int) -> None:
        data = _read(os.open(name[2:], os.O_RDONLY, dir_fd=source))
        if md5_of_bytes(data) != name[:32]:
            raise self.store.corrupted(name)
        mode = 0o666 if self.writable else 0o444
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=target)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)


def _read(descriptor: int) -> bytes:
    try:
        parts = []
        while part := os.read(descriptor, _LARGE):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _by_shard(wanted: Mapping[str, str]) -> list[_Shard]:
    shards: dict[str, _Shard] = {}
    for path, name in wanted.items():
        shards.setdefault(name[:2], []).append((name, path))
    return list(shards.values())


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
