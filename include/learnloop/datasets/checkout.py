"""Putting a tree on disk."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.datasets import durable
from learnloop.datasets.durable import telling_of_a_full_disk
from learnloop.datasets.placing import place_files
from learnloop.datasets.tree import Tree
from learnloop.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from learnloop.datasets.adding import Progress
    from learnloop.datasets.store import Store


def checkout_files(
    store: Store,
    tree: Tree,
    target: Path,
    include: Sequence[str] | None,
    writable: bool,
    progress: Progress | None = None,
) -> None:
    """Put files of ``tree`` at ``target``, which appears complete, by one rename, or not at all.

    Every object is checked on the way: what is copied by its bytes, what is linked or cloned by the signs that a
    write leaves, and by its bytes when there is such a sign (see ``verified``).

    Args:
        target: must not exist, or be an empty folder.
        include: shell patterns of the paths wanted (``*`` matches any text, also ``/``); None for all.
        writable: files of its own (reflink, else copy). Otherwise hardlinks to the store where the filesystem
            allows: they must not be written to, and mode 0444 does not stop root.
        progress: called with (files done, files) now and then.

    Raises:
        InvalidInput: a pattern matches nothing.
        Conflict: ``target`` holds something.
        NotFound, Corrupted: an object is missing or damaged.
        OutOfSpace: the disk of ``target`` is full.
    """
    wanted = _choose(tree, include)
    with telling_of_a_full_disk(target), _appearing(target) as folder:
        for parent in sorted({path.rpartition("/")[0] for path in wanted}):
            (folder / parent).mkdir(parents=True, exist_ok=True)
        place_files(store, wanted, folder, writable=writable, progress=progress)
        if writable:
            durable.sync_filesystem(folder)


def _choose(tree: Tree, include: Sequence[str] | None) -> dict[str, str]:
    if include is None:
        return dict(tree)
    for pattern in include:
        if not any(fnmatchcase(path, pattern) for path in tree):
            raise InvalidInput(f"{pattern!r} matches no file of the tree ({len(tree)} files)")
    return {path: md5 for path, md5 in tree.items() if any(fnmatchcase(path, pattern) for pattern in include)}


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its name when the block ends well, and is removed when not."""
    _refuse_occupied(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{uuid.uuid4().hex}.tmp"
    folder.mkdir()
    try:
        yield folder
        try:
            folder.rename(target)  # replaces an empty folder, refuses anything else
        except OSError:
            _refuse_occupied(target)  # somebody put something there meanwhile
            raise
        durable.sync([target.parent])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _refuse_occupied(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise Conflict(f"{target} is not empty: name a folder that does not exist or is empty")
