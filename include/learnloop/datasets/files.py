"""Files by their posix path, be they in a folder or in the store.

``list_files`` follows DVC's rules for what belongs to a tracked folder, so that our tree of a folder is the one
that ``dvc add`` makes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from learnloop.datasets.tree import Tree
from learnloop.errors import InvalidDataset

if TYPE_CHECKING:
    from learnloop.datasets.store import Store

_NEVER_TRACKED_FOLDERS = (".git", ".hg", ".dvc")
_NEVER_TRACKED_FILES = (".git",)


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
    """Relative posix paths of the files in ``folder``, sorted.

    As DVC does: ``.git``, ``.hg``, ``.dvc`` and nested DVC repositories are left out, a link to a file counts as
    the file, a link to a folder is not followed.

    Raises:
        InvalidDataset: not a folder; a dangling link, a device or a pipe; a ``.dvcignore``; a name that is not UTF-8.
    """
    if not folder.is_dir():
        raise InvalidDataset(f"{folder} is not a folder")
    return sorted(_walk(str(folder)))


def _walk(root: str) -> Iterator[str]:
    for parent, folders, names in os.walk(root, onerror=_raise):
        if parent != root and ".dvc" in folders:
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in _NEVER_TRACKED_FOLDERS]
        for name in names:
            path = f"{parent}/{name}"
            if name in _NEVER_TRACKED_FILES:
                continue
            if name == ".dvcignore":
                raise InvalidDataset(f"{path}: a tracked folder must not hold a .dvcignore; take it out")
            _check_regular(path)
            relative = path[len(root) :].lstrip("/")
            if not _is_text(relative):
                raise InvalidDataset(f"{os.fsencode(path)!r}: a file name must be UTF-8; rename it")
            yield relative


def _check_regular(path: str) -> None:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - called for every file; a Path each would double the time
    except FileNotFoundError as error:
        raise InvalidDataset(f"{path} is a link to a file that does not exist") from error
    if not stat.S_ISREG(mode):
        raise InvalidDataset(f"{path} is neither a file nor a folder (a pipe, a socket or a device); take it out")


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _raise(error: OSError) -> None:
    raise error
