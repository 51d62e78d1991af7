"""A version becomes a folder again."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets import durable
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import ensure_hot
from learnloop.datasets.uses import record_use
from learnloop.datasets.versions import get_version
from learnloop.errors import Conflict
from learnloop.faultpoints import reach

_FILES = "files"


def restore(
    session: Session,
    store: Store,
    version_name: str,
    target: Path,
    *,
    writable: bool = True,
    user: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetVersion:
    """Put the files of a version at ``target``, which appears complete or not at all.

    What a restore that was killed left beside ``target`` (a hidden folder) is removed.
    A version that is not hot is recalled first.

    Args:
        target: must not exist, or be an empty folder.
        writable: files of its own; otherwise links to the store that must not be written to.
        user: who asks, for the history of use; the version's owner when None.
        progress: called with the objects recalled and their number.

    Raises:
        NotFound: there is no such version.
        Conflict: ``target`` holds something.
        Corrupted: stored bytes are damaged; nothing appears.
    """
    version = get_version(session, version_name)
    ensure_hot(session, store, version, progress=progress)
    tree = store.read_tree(version.tree)
    _refuse_occupied(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _staging(target) as staging:
        store.checkout(tree, staging / _FILES, writable=writable)
        reach("restore.files-written")
        try:
            (staging / _FILES).rename(target)  # replaces an empty folder, refuses anything else
        except OSError:
            _refuse_occupied(target)  # somebody put something there meanwhile
            raise
        reach("restore.renamed")
        durable.sync([target.parent])
    record_use(session, version, "restore", user or version.owner)
    return version


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``, on its filesystem, that is held with a lock and removed in the end.

    The lock ends with its process, however that ends: a folder that can be locked is nobody's any more.
    """
    for left in sorted(target.parent.glob(f".{glob.escape(target.name)}.*.restoring")):
        _remove_if_dead(left)
    folder, descriptor = _new_staging(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _new_staging(target: Path) -> tuple[Path, int]:
    while True:
        folder = target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}.restoring"
        folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # another restore took it for a dead one's, before it was locked
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists():
            return folder, descriptor
        os.close(descriptor)


def _remove_if_dead(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return  # somebody else removed it, or it is none of ours
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # a restore that is going on
    finally:
        os.close(descriptor)


def _refuse_occupied(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise Conflict(f"{target} is not empty: name a folder that does not exist or is empty")
