"""Files by their posix path, be they in a folder or in the store.

``scan_folder`` follows DVC's rules for what belongs to a tracked folder, so that our tree of a folder is the one
that ``dvc add`` makes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from learnloop.datasets.index import Seen
from learnloop.datasets.parallel import shared
from learnloop.datasets.tree import Tree
from learnloop.errors import Conflict, InvalidDataset

if TYPE_CHECKING:
    from learnloop.datasets.store import Store

NEVER_TRACKED_FOLDERS = (".git", ".hg", ".dvc")
NEVER_TRACKED_FILES = (".git",)
REFUSED_FILE = ".dvcignore"
_MANY = 20_000  # files; from here on a process of its own for half of them saves time
_SHAREABLE = 8  # folders; fewer may differ too much in size
_TICK = 20_000_000  # ns; a kernel's clock for files advances every 1 to 10 ms
_COARSE_TICK = 2_000_000_000  # ns; filesystems that keep whole seconds, FAT even ones


class Files(Protocol):
    """A readable set of files."""

    def paths(self) -> list[str]:
        """Relative posix paths, sorted."""
        ...

    def read(self, path: str) -> bytes:
        """The content of one of ``paths()``."""
        ...


class FolderFiles:
    """The files of a folder on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths = list_files(folder)

    def paths(self) -> list[str]:
        return self._paths

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()


class TreeFiles:
    """The files of a tree in the store; each read is checked against its hash."""

    def __init__(self, store: Store, tree: Tree) -> None:
        self.store = store
        self.tree = tree

    def paths(self) -> list[str]:
        return list(self.tree)

    def read(self, path: str) -> bytes:
        if path not in self.tree:
            raise InvalidDataset(f"{path} is missing from the tree ({len(self.tree)} files)")
        return self.store.read(self.tree[path])


def list_files(folder: Path) -> list[str]:
    """Relative posix paths of the files in ``folder``, sorted; see ``scan_folder``."""
    return sorted(scan_folder(folder))


def scan_folder(folder: Path, expected: int = 0) -> Seen:
    """Relative posix path -> stamp (``stamp_of``) of all files in ``folder``, of which about ``expected`` are expected.

    As DVC does: ``.git``, ``.hg``, ``.dvc`` and nested DVC repositories are left out, a link to a file counts as
    the file, a link to a folder is not followed. Names may hold anything but bytes that are not UTF-8.

    Raises:
        InvalidDataset: not a folder; a folder that cannot be listed; a dangling link, a device or a pipe; a
            ``.dvcignore``; a name that is not UTF-8.
        Conflict: a file or folder went away meanwhile.
    """
    if not folder.is_dir():
        raise InvalidDataset(f"{folder} is not a folder")
    found: Seen = {}
    folders = [("", str(folder))]
    while folders and not (expected >= _MANY and len(folders) >= _SHAREABLE):
        folders += _scan_next(folders, found)
    for part in shared(_scan_below, folders):
        found |= part
    return found


def stamp_of(state: os.stat_result) -> str:
    """Size, inode, mtime and ctime: any write to the file makes it another (but see ``is_settled``)."""
    return f"{state.st_size} {state.st_ino} {state.st_mtime_ns} {state.st_ctime_ns}"


def is_settled(stamp: str, started: int) -> bool:
    """Whether a write after ``started`` (ns since 1970) would surely change a file's stamp.

    One within the same tick of the filesystem's clock would not: as in git, a file that is not older than the
    reading itself is read again the next time.
    """
    return is_at_rest(max(map(int, stamp.split(" ")[2:])), started)


def is_at_rest(changed: int, now: int) -> bool:
    """Whether a change after ``now`` (ns since 1970) gives another time than ``changed``, as the filesystem keeps time."""
    return changed < now - (_TICK if changed % 1_000_000_000 else _COARSE_TICK)


def _scan_below(folders: Sequence[tuple[str, str]]) -> Seen:
    found: Seen = {}
    left = list(folders)
    while left:
        left += _scan_next(left, found)
    return found


def _scan_next(folders: list[tuple[str, str]], found: Seen) -> list[tuple[str, str]]:
    """Take the last of ``folders`` (prefix of its paths, place) away, put its files into ``found``, return its folders."""
    prefix, parent = folders.pop()
    if prefix and os.path.isdir(f"{parent}/.dvc"):  # noqa: PTH112 - Path's raises where this may not be asked
        return []
    inner = _scan_one(prefix, parent, found)
    return [(f"{prefix}{name}/", f"{parent}/{name}") for name in inner if name not in NEVER_TRACKED_FOLDERS]


def _scan_one(prefix: str, parent: str, found: Seen) -> list[str]:
    """Put the files of one folder into ``found``, and return the names of the folders in it."""
    folders = []
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                name = entry.name
                # Plain files first, and nothing asked of them that need not be: there may be millions.
                plain = entry.is_file(follow_symlinks=False)
                if not plain and entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                    continue
                if name in NEVER_TRACKED_FILES or (not plain and entry.is_symlink() and _leads_to_folder(entry)):
                    continue
                path = prefix + name
                if not path.isascii() or name == REFUSED_FILE:
                    _refuse_name(path, entry.path)
                state = entry.stat()
                if not stat.S_ISREG(state.st_mode):
                    raise InvalidDataset(
                        f"{entry.path} is neither a file nor a folder (a pipe, a socket or a device); take it out"
                    )
                # As `stamp_of` does.
                found[path] = f"{state.st_size} {state.st_ino} {state.st_mtime_ns} {state.st_ctime_ns}"
    except FileNotFoundError as error:
        raise Conflict(f"{error.filename} went away while its folder was listed; run it again at rest") from error
    except PermissionError as error:
        raise InvalidDataset(f"{error.filename or parent} cannot be read: {error.strerror}") from error
    return folders


def _leads_to_folder(link: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISDIR(link.stat().st_mode)
    except FileNotFoundError as error:
        raise InvalidDataset(f"{link.path} is a link to a file that does not exist") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InvalidDataset(f"{link.path} is a link that leads to itself") from error
        raise


def _refuse_name(path: str, place: str) -> None:
    if path.rpartition("/")[2] == REFUSED_FILE:
        raise InvalidDataset(f"{place}: a tracked folder must not hold a {REFUSED_FILE}; take it out")
    if not _is_text(path):
        raise InvalidDataset(f"{os.fsencode(place)!r}: a file name must be UTF-8; rename it")


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
