"""Where a snapshot's files come from: a folder, or a prefix of an object storage.

A source can say what it holds without reading it (`scan`), and put one file into a store (`take`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from learnloop.datasets import copies
from learnloop.datasets.files import is_settled, scan_folder, stamp_of
from learnloop.datasets.index import Seen, size_in
from learnloop.datasets.writing import IN_MEMORY, Group, md5_of_bytes
from learnloop.errors import Conflict, InvalidInput

_LARGE = 1 << 20  # from here on hashing, which frees the interpreter's lock, outweighs handing over to a thread


class Source(Protocol):
    """Files by relative posix path, which others may change at any time."""

    name: str
    """Tells this source from any other, and is the same the next time."""
    workers: int
    """How many files may be taken at once."""

    processes: bool
    """Whether processes may share the reading of small files."""

    def scan(self, expected: int = 0) -> Seen:
        """All files, as they are now, unread; of which about ``expected`` are expected."""
        ...

    def is_settled(self, stamp: str, started: int) -> bool:
        """Whether any change after ``started`` (ns since 1970) will give the file another stamp."""
        ...

    def worth_a_thread(self, stamp: str) -> bool:
        """Whether taking such a file beside others saves time."""
        ...

    def take(self, path: str, stamp: str, group: Group) -> str:
        """Read one file, add it to ``group`` unless the store has it, and return its md5.

        Raises:
            Conflict: the file is not what its stamp says.
        """
        ...

    def describe(self, path: str) -> str:
        """What a person calls this file."""
        ...


class FolderSource:
    """The files of a folder on disk, by DVC's rules (``files.scan_folder``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder.resolve())
        self.workers = min(os.cpu_count() or 1, 8)
        self.processes = True

    def scan(self, expected: int = 0) -> Seen:
        return scan_folder(self.folder, expected)

    def is_settled(self, stamp: str, started: int) -> bool:
        return is_settled(stamp, started)

    def worth_a_thread(self, stamp: str) -> bool:
        return size_in(stamp) >= _LARGE

    def take(self, path: str, stamp: str, group: Group) -> str:
        return _take_file(self.describe(path), size_in(stamp), group)

    def describe(self, path: str) -> str:
        return f"{self.folder}/{path}"


def take_file_at_rest(path: str, group: Group) -> str:
    """As ``FolderSource.take``, of one file that is looked at before and after."""

    def look() -> str:
        try:
            return stamp_of(Path(path).stat())
        except FileNotFoundError as error:
            raise Conflict(f"{path} is not there (any more)") from error

    stamp = look()
    md5 = _take_file(path, size_in(stamp), group)
    if look() != stamp:
        raise _changed(path)
    return md5


def _take_file(path: str, size: int, group: Group) -> str:
    descriptor = _open(path)
    try:
        if size <= IN_MEMORY:
            data = os.read(descriptor, size + 1)
            while 0 < len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
                data += more  # network filesystems may give less than they were asked for
            if len(data) != size:
                raise _changed(path)
            md5 = md5_of_bytes(data)
            if not group.has(md5, size):
                group.put_bytes(md5, data)
            return md5
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            md5 = copies.md5_of(file)
            if not group.has(md5, size):
                file.seek(0)
                if group.put_file(file) != md5:
                    raise _changed(path)
            return md5
    finally:
        os.close(descriptor)


def refuse_changes(source: Source, before: Seen, now: Seen) -> None:
    """Raises Conflict, naming the first file, when a source is not as it was."""
    if before == now:
        return
    for path, stamp in before.items():
        if path not in now:
            raise Conflict(f"{source.describe(path)} went away while it was read; run it again when it is at rest")
        if now[path] != stamp:
            raise _changed(source.describe(path))
    path = min(now.keys() - before.keys())
    raise Conflict(f"{source.describe(path)} came while the rest was read; run it again when it is at rest")


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise Conflict(f"{path} is not there (any more)") from error
    except (PermissionError, IsADirectoryError) as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error


def _changed(path: str) -> Conflict:
    return Conflict(f"{path} changed while it was read; run it again when nobody writes to it")
