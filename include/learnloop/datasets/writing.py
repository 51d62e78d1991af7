"""How objects come to be: temporary files, made durable together, then renamed to their names."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from learnloop.datasets import copies, durable
from learnloop.datasets.verified import fact
from learnloop.errors import Corrupted
from learnloop.faultpoints import reach

IN_MEMORY = 8 << 20  # smaller files are read once; larger ones are hashed first, so that a known one costs no write


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
        objects.mkdir(parents=True, exist_ok=True)
        temporary.mkdir(parents=True, exist_ok=True)

    def has(self, name: str, size: int) -> bool:
        """Whether the object is there or on its way. One of another size is damaged, and does not count."""
        if name in self._pending:
            return True
        try:
            return os.stat(f"{self.objects}/{name[:2]}/{name[2:]}").st_size == size  # noqa: PTH116 - for every file
        except FileNotFoundError:
            return False

    def put_bytes(self, name: str, data: bytes) -> None:
        """Add an object of these bytes, whose md5 the caller has found to be ``name``."""
        temporary = self._new_temporary()
        try:
            with open(temporary, "xb", buffering=0, opener=_create) as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
                self._finish(name, temporary, file.fileno())
        except BaseException:
            _unlink(temporary)
            raise

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
        pending, folders = self._pending, set()
        durable.sync([Path(temporary) for temporary in pending.values()])
        for name, temporary in pending.items():
            folder = f"{self.objects}/{name[:2]}"
            if folder not in folders:
                Path(folder).mkdir(exist_ok=True)
                folders.add(folder)
            os.rename(temporary, f"{folder}/{name[2:]}")  # noqa: PTH104 - for every file
        durable.sync([Path(folder) for folder in folders] + [self.objects])
        self._pending = {}
        reach("store.objects-published")

    def discard(self) -> None:
        """Remove what was not published."""
        for temporary in self._pending.values():
            _unlink(temporary)

    def _new_temporary(self) -> str:
        return f"{self._temporary}/{uuid.uuid4().hex}"

    def _finish(self, name: str, temporary: str, descriptor: int) -> None:
        os.fchmod(descriptor, 0o444)
        self.facts.append(fact(name, os.fstat(descriptor)))
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
