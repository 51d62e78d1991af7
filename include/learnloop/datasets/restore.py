"""A version becomes a folder again."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_version


def restore(
    session: Session, store: Store, version_name: str, target: Path, *, writable: bool = True
) -> DatasetVersion:
    """Put the files of a version at ``target``, which appears complete or not at all.

    Args:
        target: must not exist, or be an empty folder.
        writable: files of its own; otherwise links to the store that must not be written to.

    Raises:
        NotFound: there is no such version.
        Conflict: ``target`` holds something.
        Corrupted: stored bytes are damaged; nothing appears.
    """
    version = get_version(session, version_name)
    store.checkout(store.read_tree(version.tree), target, writable=writable)
    return version
