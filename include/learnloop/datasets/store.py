"""The object store: DVC's on-disk layout, ``files/md5/xx/yyyy...``.

Every object is written as a temporary file, made durable, and renamed to its name: an object that exists is
whole. Objects come before the tree that names them. Nothing is ever changed in place.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from learnloop.datasets import copies, durable, generation
from learnloop.datasets.checkout import checkout_files
from learnloop.datasets.files import list_files
from learnloop.datasets.tree import Tree, dumps, loads
from learnloop.errors import Conflict, Corrupted, InvalidInput, NotFound

_NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")
_IN_MEMORY = 8 << 20  # smaller files are read once; larger ones are hashed first, so that a known one costs no write
_GROUP = 1000  # new files made durable together
_TOUCH_AFTER = 600.0  # seconds; far less than the grace that garbage collection gives


class Store:
    """Objects by their md5 under ``root``. Any number of processes may add and read at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "files" / "md5"
        self._temporary = root / "tmp"
        self._complete: dict[str, int] = {}  # trees written, and the generation at which all they name was there

    # --- adding ---

    def add_bytes(self, data: bytes) -> str:
        """Store ``data`` and return its md5."""
        md5 = _md5(data)
        self._add_object(md5, data)
        return md5

    def add_file(self, path: Path) -> str:
        """Store a copy of a file and return its md5.

        Raises:
            Conflict: the file changed while it was read.
        """
        with self._group() as pending:
            return self._take(path, pending)[0]

    def add_folder(self, folder: Path) -> tuple[Tree, int]:
        """Store copies of all files of ``folder``; return its tree and the sum of their sizes in bytes.

        The tree is not written: see ``write_tree``. What belongs to the folder: see ``files.list_files``.

        Raises:
            InvalidDataset: the folder holds what cannot be tracked.
            Conflict: a file changed, came or went while the folder was read.
        """
        paths = list_files(folder)
        entries: dict[str, str] = {}
        total = 0
        for start in range(0, len(paths), _GROUP):
            with self._group() as pending:
                for path in paths[start : start + _GROUP]:
                    entries[path], size = self._take(folder / path, pending)
                    total += size
        if list_files(folder) != paths:
            raise Conflict(f"files came or went in {folder} while it was read; run it again when it is at rest")
        return Tree(entries), total

    def adopt(self, files: Mapping[str, Path], place: str) -> None:
        """Make files in ``new_temporary`` places the objects that they are named; they are moved.

        Raises:
            Corrupted: one, which came from ``place``, does not hold the bytes it is named by; none was taken.
        """
        for name, path in files.items():
            with path.open("rb") as file:
                if copies.md5_of(file) != name[:32]:
                    raise Corrupted(f"object {name} as it came from {place} does not hold the bytes it is named by")
            path.chmod(0o444)
        with self._group() as pending:
            pending.update(files)

    def new_temporary(self) -> Path:
        """A path for a new file on the store's filesystem; left behind, it is collected as garbage."""
        return self._new_temporary()

    def write_tree(self, tree: Tree) -> str:
        """Store ``tree`` and return its hash (``<md5>.dir``).

        Raises:
            NotFound: an object that it names is not in the store.
        """
        before = generation.read(self.root)
        for path, md5 in tree.items():
            if self._seen(md5) is None:
                raise NotFound(f"{path}: object {md5} is not in the store {self.root}")
        data = dumps(tree)
        name = _md5(data) + ".dir"
        self._add_object(name, data)
        self._complete[name] = before
        return name

    def complete_since(self, name: str) -> bool:
        """Whether nothing was collected since this store wrote the tree ``name``, so that all it names is there."""
        before = self._complete.get(name)
        return before is not None and generation.is_quiet(before) and before == generation.read(self.root)

    # --- reading ---

    def path_of(self, name: str) -> Path:
        """Where the object ``name`` (an md5, or a tree's hash) is or would be. Never write to it."""
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} is not the name of an object: 32 hex digits, for a tree followed by .dir")
        return self._objects / name[:2] / name[2:]

    def size_of(self, md5: str) -> int:
        """The size of an object in bytes."""
        try:
            return self.path_of(md5).stat().st_size
        except FileNotFoundError as error:
            raise self._missing(md5) from error

    def total_size(self, tree: Tree) -> int:
        """The sum of the sizes of a tree's files in bytes."""
        return sum(self.size_of(md5) for md5 in tree.values())

    def read(self, name: str) -> bytes:
        """The bytes of an object.

        Raises:
            NotFound: there is no such object.
            Corrupted: its bytes are not those it is named by.
        """
        path = self.path_of(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise self._missing(name) from error
        if _md5(data) != name[:32]:
            raise self._corrupted(name)
        return data

    def read_tree(self, name: str) -> Tree:
        """The tree with this hash; raises as ``read`` does."""
        if not name.endswith(".dir"):
            raise InvalidInput(f"{name!r} is not the hash of a tree: it must end in .dir")
        return loads(self.read(name))

    def verify(self, name: str) -> None:
        """Read an object to its end; raises as ``read`` does."""
        try:
            with self.path_of(name).open("rb") as file:
                md5 = copies.md5_of(file)
        except FileNotFoundError as error:
            raise self._missing(name) from error
        if md5 != name[:32]:
            raise self._corrupted(name)

    def copy_to(self, name: str, target: Path) -> None:
        """Write an object's bytes to the new file ``target`` (reflink, else copy); raises as ``read`` does."""
        try:
            with self.path_of(name).open("rb") as source, target.open("x+b") as file:
                md5 = copies.md5_of(file) if copies.clone(source, file) else copies.copy(source, file)
        except FileNotFoundError as error:
            raise self._missing(name) from error
        if md5 != name[:32]:
            raise self._corrupted(name)

    def checkout(self, tree: Tree, target: Path, include: Sequence[str] | None = None, writable: bool = False) -> None:
        """Put files of ``tree`` at ``target``, which appears complete or not at all. See ``checkout_files``."""
        checkout_files(self, tree, target, include, writable)

    # --- how an object comes to be ---

    def _take(self, path: Path, pending: dict[str, Path]) -> tuple[str, int]:
        """Hash a file and, unless the store has it, copy it to a temporary file listed in ``pending``."""
        with _open(path) as file:
            before = os.fstat(file.fileno())
            if before.st_size <= _IN_MEMORY:
                data = file.read()
                md5 = _md5(data)
                changed = len(data) != before.st_size
                if not changed and not self._known(md5, before.st_size, pending):
                    pending[md5] = self._write_temporary(data)
            else:
                changed = False
                md5 = copies.md5_of(file)
                if not self._known(md5, before.st_size, pending):
                    file.seek(0)
                    pending[md5] = temporary = self._new_temporary()
                    with temporary.open("xb") as copy:
                        changed = copies.copy(file, copy) != md5
                        os.fchmod(copy.fileno(), 0o444)
        if changed or not _is_still(path, before):
            raise Conflict(f"{path} changed while it was read; run it again when nobody writes to it")
        return md5, before.st_size

    def _known(self, md5: str, size: int, pending: dict[str, Path]) -> bool:
        return md5 in pending or self._has(md5, size)

    def _has(self, name: str, size: int) -> bool:
        # An object of another size is damaged, and is put right by what is being added.
        return self._seen(name) == size

    def _seen(self, name: str) -> int | None:
        """An object's size; its change time is brought up to date, since what is relied on must not be collected."""
        path = self.path_of(name)
        try:
            found = path.stat()
            if time.time() - found.st_ctime > _TOUCH_AFTER:
                os.utime(path)
        except FileNotFoundError:
            return None
        return found.st_size

    @contextmanager
    def _group(self) -> Iterator[dict[str, Path]]:
        """Collect temporary files by md5; at the end make all durable at once and give them their names."""
        pending: dict[str, Path] = {}
        try:
            yield pending
            if pending:
                durable.sync(pending.values())
                folders = {self._publish(temporary, name) for name, temporary in pending.items()}
                durable.sync({*folders, self._objects})
        finally:
            for temporary in pending.values():
                temporary.unlink(missing_ok=True)

    def _add_object(self, name: str, data: bytes) -> None:
        if self._has(name, len(data)):
            return
        with self._group() as pending:
            pending[name] = self._write_temporary(data)

    def _write_temporary(self, data: bytes) -> Path:
        temporary = self._new_temporary()
        with temporary.open("xb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o444)
        return temporary

    def _new_temporary(self) -> Path:
        self._temporary.mkdir(parents=True, exist_ok=True)
        return self._temporary / uuid.uuid4().hex

    def _publish(self, temporary: Path, name: str) -> Path:
        target = self.path_of(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
        return target.parent

    def _missing(self, name: str) -> NotFound:
        return NotFound(f"object {name} is not in the store {self.root}")

    def _corrupted(self, name: str) -> Corrupted:
        return Corrupted(f"object {name} ({self.path_of(name)}) does not hold the bytes it is named by")


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise Conflict(f"{path} is not there (any more)") from error
    except (PermissionError, IsADirectoryError) as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _is_still(path: Path, before: os.stat_result) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
