"""A version becomes a folder again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import ensure_hot
from learnloop.datasets.uses import record_use
from learnloop.datasets.versions import get_version


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
    store.checkout(store.read_tree(version.tree), target, writable=writable)
    record_use(session, version, "restore", user or version.owner)
    return version
