"""How objects come to be: temporary files, made durable together, then renamed to their names."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import time
import uuid
from pathlib import Path

from learnloop.datasets import copies, durable
from learnloop.datasets.verified import fact
from learnloop.errors import Corrupted
from learnloop.faultpoints import reach

IN_MEMORY = 8 << 20  # smaller files are read once; larger ones are hashed first, so that a known one costs no write

TOUCH_AFTER = 600.0  # seconds; far less than the grace that garbage collection gives


class Group:
    """New objects on their way into a store. Threads may share one.

    Args:
        objects: the store's ``files/md5``.
        temporary: a folder on the same filesystem.
    """

    def __init__(self, objects: Path, temporary: Path) -> None:
        self.objects = objects
        self.facts: list[bytes] = []
        self._temporary = temporary
        self._pending: dict[str, str] = {}
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count()
        objects.mkdir(parents=True, exist_ok=True)
        temporary.mkdir(parents=True, exist_ok=True)

    def has(self, name: str, size: int) -> bool:
        """Whether the object is there or on its way. One of another size is damaged, and does not count.

        What is relied on must not be collected as garbage, so the change time of an old object is brought up to date.
        """
        if name in self._pending:
            return True
        place = f"{self.objects}/{name[:2]}/{name[2:]}"
        if not os.access(place, os.F_OK):  # a third of the time of a stat that fails
            return False
        try:
            found = os.stat(place)  # noqa: PTH116 - for every file
            if time.time() - found.st_ctime > TOUCH_AFTER:
                os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))  # the same times: `verified` knows them
        except FileNotFoundError:
            return False
        return found.st_size == size

    def put_bytes(self, name: str, data: bytes) -> None:
        """Add an object of these bytes, whose md5 the caller has found to be ``name``."""
        temporary = self._new_temporary()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, data[written:])
            self._finish(name, temporary, descriptor)
        except BaseException:
            _unlink(temporary)
            raise
        finally:
            os.close(descriptor)

    def put_file(self, source: copies.Readable) -> str:
        """Add an object of the rest of ``source``, unless the store has it, and return its md5."""
        temporary = self._new_temporary()
        try:
            with open(temporary, "xb", opener=_create) as file:
                md5 = copies.copy(source, file)
                file.flush()
                if self.has(md5, file.tell()):
                    _unlink(temporary)
                else:
                    self._finish(md5, temporary, file.fileno())
        except BaseException:
            _unlink(temporary)
            raise
        return md5

    def put_from(self, name: str, source: copies.Readable | Path) -> None:
        """Add the object ``name``, in place of one that is there.

        Raises:
            Corrupted: the bytes of ``source`` are not those of that name.
        """
        if isinstance(source, Path):
            with source.open("rb") as file:
                return self.put_from(name, file)
        temporary = self._new_temporary()
        try:
            with open(temporary, "xb", opener=_create) as file:
                md5 = copies.copy(source, file)
                file.flush()
                if md5 != name[:32]:
                    raise Corrupted(f"object {name} was to be stored, but what came has the md5 {md5}")
                self._finish(name, temporary, file.fileno())
        except BaseException:
            _unlink(temporary)
            raise
        return None

    def publish(self) -> None:
        """Make all durable at once and give them their names."""
        if not self._pending:
            return
        durable.sync(self._pending.values())
        folders = {f"{self.objects}/{name[:2]}" for name in self._pending}
        for folder in folders:
            if not os.path.isdir(folder):  # noqa: PTH112
                Path(folder).mkdir(exist_ok=True)
        for name, temporary in self._pending.items():
            os.rename(temporary, f"{self.objects}/{name[:2]}/{name[2:]}")  # noqa: PTH104 - for every file
        durable.sync([*folders, str(self.objects)])
        self._pending = {}
        reach("store.objects-published")

    def discard(self) -> None:
        """Remove what was not published."""
        for temporary in self._pending.values():
            _unlink(temporary)

    def _new_temporary(self) -> str:
        return f"{self._temporary}/{self._name}-{next(self._numbers)}"

    def _finish(self, name: str, temporary: str, descriptor: int) -> None:
        state = os.fstat(descriptor)
        if stat.S_IMODE(state.st_mode) != 0o444:  # a umask that keeps others from reading
            os.fchmod(descriptor, 0o444)
            state = os.fstat(descriptor)
        self.facts.append(fact(name, state))
        if self._pending.setdefault(name, temporary) != temporary:
            _unlink(temporary)  # another thread had the same content
        reach("store.temporary-written")


def md5_of_bytes(data: bytes) -> str:
    """The md5 of ``data`` as 32 hex digits."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _create(path: str, flags: int) -> int:
    return os.open(path, flags, 0o444)


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)
