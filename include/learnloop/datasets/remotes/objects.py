"""What remotes need of a store beyond its reading."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from learnloop.datasets import copies, durable
from learnloop.datasets.remotes.base import Source, disk_of
from learnloop.datasets.store import Store
from learnloop.errors import Corrupted
from learnloop.faultpoints import reach


def has(store: Store, name: str) -> bool:
    """Whether the store holds an object of this name, whole or damaged."""
    return store.path_of(name).exists()


def names(store: Store) -> Iterator[str]:
    """The names of all objects and trees of the store, in no order."""
    root = store.root / "files" / "md5"
    if not root.is_dir():
        return
    with os.scandir(root) as folders:
        for folder in folders:
            if len(folder.name) == 2 and folder.is_dir():
                with os.scandir(folder.path) as entries:
                    yield from (folder.name + entry.name for entry in entries if entry.is_file())


@contextmanager
def incoming(store: Store) -> Iterator[dict[str, Path]]:
    """Collect whole objects in temporary files, by name; at the end all are made durable and given their names.

    So they are when the block fails: what has come whole need not come again.
    """
    pending: dict[str, Path] = {}
    try:
        with disk_of(str(store.root)):
            try:
                yield pending
            finally:
                put_from(store, pending)
    finally:
        for temporary in pending.values():
            temporary.unlink(missing_ok=True)


def put_from(store: Store, objects: Mapping[str, Path]) -> None:
    """Give files on the store's disk, whose bytes were checked, their names; whatever has these is replaced."""
    if not objects:
        return
    durable.sync(objects.values())
    reach("fetch.temporaries-durable")
    folders = set()
    for name, temporary in objects.items():
        target = store.path_of(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
        folders.add(target.parent)
        reach("fetch.object-placed")
    durable.sync({*folders, *(folder.parent for folder in folders)})


def download(remote: Source, name: str, store: Store) -> Path:
    """Get an object into a temporary file of the store, and check it.

    Raises:
        NotFound: the remote has no such object.
        Corrupted: it sent other bytes than the name promises; nothing is kept.
    """
    folder = store.root / "tmp"
    with disk_of(str(store.root)):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / uuid.uuid4().hex
        try:
            download_to(remote, name, temporary)
            temporary.chmod(0o444)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return temporary


def download_to(remote: Source, name: str, target: Path) -> None:
    """Get an object into ``target``, and check it; raises as ``download`` does."""
    remote.get(name, target)
    with target.open("rb") as file:
        md5 = copies.md5_of(file)
    if md5 != name[:32]:
        raise Corrupted(
            f"the remote {remote.address} sent bytes with the md5 {md5} for object {name}; nothing was stored:"
            " put the object right there, by a push from a store that has it whole or from another remote"
        )
