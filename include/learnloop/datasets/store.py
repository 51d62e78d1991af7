"""The object store: DVC's on-disk layout, ``files/md5/xx/yyyy...``.

Every object is written as a temporary file, made durable, and renamed to its name: an object that exists is
whole. Objects come before the tree that names them. Nothing is ever changed in place.

Beside the objects are what only saves time (``index``, ``verified``: see the modules of these names) and what is
being written (``tmp``).
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from learnloop.datasets import copies, generation
from learnloop.datasets.adding import Added, Progress, add_source
from learnloop.datasets.checkout import checkout_files
from learnloop.datasets.durable import telling_of_a_full_disk
from learnloop.datasets.files import is_at_rest
from learnloop.datasets.remote_source import RemoteSource
from learnloop.datasets.sources import FolderSource, Source, take_file_at_rest
from learnloop.datasets.tree import Tree, dumps, loads
from learnloop.datasets.verified import Verified
from learnloop.datasets.writing import Group, md5_of_bytes
from learnloop.errors import Corrupted, InvalidInput, NotFound
from learnloop.faultpoints import reach

_NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")
_SHARDS = [f"{number:02x}" for number in range(256)]


@dataclass(frozen=True)
class _Looked:
    """A tree not yet written, and the folders that held all it names when they had these mtimes."""

    tree: Tree
    shards: dict[str, int]


class Store:
    """Objects by their md5 under ``root``. Any number of processes may add and read at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "files" / "md5"
        self._temporary = root / "tmp"
        self.verified = Verified(root / "verified", self._temporary)
        self._complete: dict[str, int] = {}  # trees written, and the generation at which all they name was there
        self._looked: _Looked | None = None

    # --- adding ---

    def add_bytes(self, data: bytes) -> str:
        """Store ``data`` and return its md5."""
        md5 = md5_of_bytes(data)
        self._add_object(md5, data)
        return md5

    def add_file(self, path: Path) -> str:
        """Store a copy of a file and return its md5.

        Raises:
            Conflict: the file changed while it was read.
            InvalidInput: it cannot be read.
        """
        with self.adding() as group:
            return take_file_at_rest(str(path), group)

    def add_folder(self, folder: Path, progress: Progress | None = None) -> tuple[Tree, int]:
        """Store copies of all files of ``folder``; return its tree and the sum of their sizes in bytes.

        Files that are as they were the last time are not read. The tree is not written: see ``write_tree``. What
        belongs to the folder: see ``files.scan_folder``; what is raised: ``adding.add_source``.
        """
        added = add_source(self, FolderSource(folder), progress)
        return added.tree, added.bytes

    def add_remote_folder(
        self, url: str, storage_options: Mapping[str, Any] | None = None, progress: Progress | None = None
    ) -> tuple[Tree, int]:
        """As ``add_folder``, of all objects below an fsspec URL such as ``s3://bucket/prefix``.

        Only objects whose ETag, size or time differ from the last time are downloaded, a few at once.

        Args:
            storage_options: what fsspec's filesystem takes: key, secret, endpoint_url and so on.

        Raises:
            NotFound, PermissionDenied, Unavailable: there is nothing, or the storage refuses or does not answer.
            Corrupted: what arrived is not what the storage's own checksum says.
        """
        added = add_source(self, RemoteSource(url, storage_options or {}), progress)
        return added.tree, added.bytes

    def add_source(self, source: Source, progress: Progress | None = None) -> Added:
        """As ``add_folder``, of any source; says also how many files were read."""
        return add_source(self, source, progress)

    def adopt(self, files: Mapping[str, Path], place: str) -> None:
        """Make files in ``new_temporary`` places the objects that they are named; the files are removed.

        Raises:
            Corrupted: one, which came from ``place``, does not hold the bytes it is named by; none was taken.
        """
        try:
            with self.adding() as group:
                for name, path in files.items():
                    group.put_from(name, path)
        except Corrupted as error:
            raise Corrupted(f"an object as it came from {place} is damaged: {error}") from error
        finally:
            for path in files.values():
                path.unlink(missing_ok=True)

    def write_tree(self, tree: Tree) -> str:
        """Store ``tree`` and return its hash (``<md5>.dir``).

        Raises:
            NotFound: an object that it names is not in the store.
        """
        before = generation.read(self.root)
        looked = self._looked
        standing = self.standing(looked.shards) if looked is not None and looked.tree is tree else set()
        if absent := self.absent(md5 for md5 in tree.values() if md5[:2] not in standing):
            path, md5 = next((path, md5) for path, md5 in tree.items() if md5 in absent)
            raise NotFound(f"{path}: object {md5} is not in the store {self.root}")
        name, size = tree.object.name, tree.object.size
        with self.adding() as group:
            if not group.has(name, size):
                group.put_bytes(name, dumps(tree))
        reach("snapshot.tree-written")
        self._complete[name] = before
        return name

    def generation(self) -> int:
        """A number that is another once something was collected, and odd meanwhile: `learnloop.datasets.generation`."""
        return generation.read(self.root)

    def is_as_it_was(self, since: int) -> bool:
        """Whether nothing was collected since the generation was ``since``, nor is now."""
        return generation.is_quiet(since) and since == generation.read(self.root)

    def is_complete(self, tree: Tree, shards: dict[str, int]) -> None:
        """Told by who has just seen all that ``tree`` names: ``write_tree`` looks again only where ``shards`` changed."""
        self._looked = _Looked(tree, shards)

    def complete_since(self, name: str) -> bool:
        """Whether nothing was collected since this store wrote the tree ``name``, so that all it names is there."""
        before = self._complete.get(name)
        return before is not None and self.is_as_it_was(before)

    def put_from(self, name: str, source: copies.Readable | Path) -> None:
        """Store bytes that are known by ``name``, in place of what is there. For many: ``Group.put_from``.

        Raises:
            Corrupted: the bytes are not those of that name.
        """
        self.path_of(name)
        with self.adding() as group:
            group.put_from(name, source)

    @contextmanager
    def adding(self) -> Iterator[Group]:
        """Collect new objects; they appear, durable, when the block ends well, and not at all when it does not."""
        with telling_of_a_full_disk(self.root):
            group = Group(self._objects, self._temporary)
            try:
                yield group
                group.publish()
            finally:
                group.discard()

    # --- what is there ---

    def path_of(self, name: str) -> Path:
        """Where the object ``name`` (an md5, or a tree's hash) is or would be. Never write to it."""
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} is not the name of an object: 32 hex digits, for a tree followed by .dir")
        return self._objects / name[:2] / name[2:]

    def names(self) -> Iterator[str]:
        """The names of all objects, trees too (they end in ``.dir``), in order."""
        for shard in _SHARDS:
            yield from sorted(shard + rest for rest in self._listed(shard))

    def has(self, name: str) -> bool:
        """Whether there is an object of this name."""
        return self.path_of(name).exists()

    def absent(self, names: Iterable[str]) -> set[str]:
        """Those of ``names`` that are not in the store."""
        shards: dict[str, list[str]] = {}
        for name in set(names):
            shards.setdefault(name[:2], []).append(name[2:])
        absent: set[str] = set()
        asked = listed = 0
        for shard, wanted in shards.items():
            # To list a folder costs a quarter of asking for each file, unless it is far larger than the question.
            if listed > 4 * asked:
                absent.update(shard + rest for rest in wanted if not self.has(shard + rest))
                continue
            there = self._listed(shard)
            asked, listed = asked + len(wanted), listed + len(there)
            absent.update([shard + rest for rest in set(wanted).difference(there)])
        return absent

    def shards(self, names: Iterable[str]) -> dict[str, int]:
        """The mtimes of the folders that hold the objects ``names``; 0 for one in which a change might not show."""
        now = time.time_ns()
        mtimes = {shard: self._mtime(shard) for shard in {name[:2] for name in names}}
        return {shard: mtime if mtime and is_at_rest(mtime, now) else 0 for shard, mtime in mtimes.items()}

    def standing(self, shards: Mapping[str, int]) -> set[str]:
        """Those of ``shards`` that nothing has come to or gone from since."""
        return {shard for shard, mtime in shards.items() if self._mtime(shard) == mtime}

    def remove(self, name: str) -> int:
        """Remove an object; return its size in bytes, 0 when it is not there. Only for who knows nobody needs it."""
        path = self.path_of(name)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def remove_leftovers(self, older_than: timedelta) -> int:
        """Remove what killed writers left in ``tmp``, untouched for longer than this; return how many bytes it was.

        A writer touches what it is writing all the time, and is done with it in minutes: an hour is safe.
        """
        limit = time.time() - older_than.total_seconds()
        freed = 0
        for path in self._temporary.glob("*"):
            try:
                state = path.stat()
                if state.st_mtime < limit:
                    path.unlink()
                    freed += state.st_size
            except FileNotFoundError:
                continue  # its writer finished
        return freed

    # --- reading ---

    def size_of(self, md5: str) -> int:
        """The size of an object in bytes."""
        try:
            return self.path_of(md5).stat().st_size
        except FileNotFoundError as error:
            raise self.missing(md5) from error

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
            raise self.missing(name) from error
        if md5_of_bytes(data) != name[:32]:
            raise self.corrupted(name)
        return data

    def read_tree(self, name: str) -> Tree:
        """The tree with this hash; raises as ``read`` does."""
        if not name.endswith(".dir"):
            raise InvalidInput(f"{name!r} is not the hash of a tree: it must end in .dir")
        return loads(self.read(name))

    def verify(self, name: str) -> None:
        """Read an object to its end, whatever is known of it; raises as ``read`` does."""
        try:
            with self.path_of(name).open("rb") as file:
                md5 = copies.md5_of(file)
        except FileNotFoundError as error:
            raise self.missing(name) from error
        if md5 != name[:32]:
            raise self.corrupted(name)

    def copy_to(self, name: str, target: Path, *, clone: bool = True, known: bool = False) -> bool:
        """Write an object's bytes to the new file ``target``; raises as ``read`` does.

        Args:
            clone: try a reflink first; else, and where the filesystems have none, it is a copy.
            known: a clone need not be read (a copy always is).

        Returns:
            Whether it is a reflink.
        """
        try:
            with self.path_of(name).open("rb", buffering=0) as source, target.open("x+b") as file:
                cloned = clone and copies.clone(source, file)
                if cloned and known:
                    return True
                md5 = copies.md5_of(file) if cloned else copies.copy(source, file)
        except FileNotFoundError as error:
            if target.parent.is_dir():
                raise self.missing(name) from error
            raise
        if md5 != name[:32]:
            raise self.corrupted(name)
        return cloned

    def checkout(
        self,
        tree: Tree,
        target: Path,
        include: Sequence[str] | None = None,
        writable: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Put files of ``tree`` at ``target``, which appears complete or not at all. See ``checkout_files``."""
        checkout_files(self, tree, target, include, writable, progress)

    # --- parts ---

    def new_temporary(self) -> Path:
        """A path for a new file on the store's filesystem, removed by ``remove_leftovers`` if its writer cannot."""
        self._temporary.mkdir(parents=True, exist_ok=True)
        return self._temporary / uuid.uuid4().hex

    def _mtime(self, shard: str) -> int | None:
        try:
            return os.stat(self._objects / shard).st_mtime_ns  # noqa: PTH116
        except FileNotFoundError:
            return None

    def _listed(self, shard: str) -> list[str]:
        try:
            return os.listdir(self._objects / shard)  # noqa: PTH208 - names, not paths
        except FileNotFoundError:
            return []

    def _add_object(self, name: str, data: bytes) -> None:
        with self.adding() as group:
            if not group.has(name, len(data)):
                group.put_bytes(name, data)

    def missing(self, name: str) -> NotFound:
        """The error that says so of an object."""
        return NotFound(f"object {name} is not in the store {self.root}")

    def corrupted(self, name: str) -> Corrupted:
        """The error that says so of an object, which from now on no checkout trusts unread."""
        self.verified.forget(name)
        return Corrupted(f"object {name} ({self.path_of(name)}) does not hold the bytes it is named by")
