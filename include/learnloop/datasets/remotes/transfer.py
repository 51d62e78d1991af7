"""Push, fetch, replicate: what is missing at one place is brought from another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from learnloop.datasets.remotes.base import Progress, Remote, Source
from learnloop.datasets.remotes.objects import download, has, incoming, put_from
from learnloop.datasets.remotes.parallel import JOBS, each, shares
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree, loads
from learnloop.errors import NotFound
from learnloop.faultpoints import reach

_TOGETHER = 64  # objects that are made durable together, and lost together when a transfer is killed


@dataclass(frozen=True)
class Transferred:
    """What a transfer moved. What was there already is not counted."""

    objects: int
    """Files and trees."""
    bytes: int


def push(
    store: Store, remote: Remote, trees: Sequence[str], *, jobs: int = JOBS, progress: Progress | None = None
) -> Transferred:
    """Copy to ``remote`` what it lacks of ``trees`` (hashes, as a version's ``tree``).

    An object of another size at the remote was cut by somebody, and is put right.

    Raises:
        NotFound: no such remote; or a tree or an object is neither in the store nor at the remote.
        Corrupted: an object of the store is damaged; it is not sent, and the tree that needs it does not appear.
        Unavailable: the remote does not answer, refuses us, or is full.
    """
    remote.check(writing=True)
    files = {md5 for name in trees for md5 in store.read_tree(name).values()}
    missing = _missing(store, remote, files, jobs), _missing(store, remote, set(trees), jobs)
    count = _Count(sum(map(len, missing)), progress)

    def put(names: list[str]) -> tuple[int, int]:
        remote.put_all({name: store.path_of(name) for name in names})
        return len(names), sum(store.size_of(name) for name in names)

    for names, point in zip(missing, ("push.objects-done", "push.trees-done"), strict=True):
        count.add_all(each(shares(names, jobs, _TOGETHER), put, jobs))
        reach(point)
    return count.transferred


def fetch(
    store: Store, remote: Source, trees: Sequence[str], *, jobs: int = JOBS, progress: Progress | None = None
) -> Transferred:
    """Copy from ``remote`` what the store lacks of ``trees``. Every object is hashed before it is in the store.

    An object that the store has is not read: see ``verify`` for damaged ones.

    Raises:
        NotFound: no such remote; or it lacks a tree or an object, which is named.
        Corrupted: the remote sent other bytes than a name promises; nothing is stored under that name.
        Unavailable: the remote does not answer, refuses us; or the store's disk is full.
    """
    remote.check(writing=False)
    coming: dict[str, Path] = {}
    try:
        for name in dict.fromkeys(trees):
            if not has(store, name):
                coming[name] = download(remote, name, store)
        contents = [loads(coming[name].read_bytes()) if name in coming else store.read_tree(name) for name in trees]
        missing = sorted(md5 for md5 in _files_of(contents) if not has(store, md5))
        count = _Count(len(missing) + len(coming), progress)
        count.add_all(each(shares(missing, jobs, _TOGETHER), _fetcher(store, remote), jobs))
        reach("fetch.objects-done")
        sizes = [path.stat().st_size for path in coming.values()]
        put_from(store, coming)
        reach("fetch.trees-done")
        count.add_all((1, size) for size in sizes)
    finally:
        for temporary in coming.values():
            temporary.unlink(missing_ok=True)
    return count.transferred


def replicate(
    source: Source,
    target: Remote,
    trees: Sequence[str],
    store: Store,
    *,
    jobs: int = JOBS,
    progress: Progress | None = None,
) -> Transferred:
    """Copy from one remote to another what that lacks of ``trees``.

    Each object passes through a temporary file of ``store``, where it is hashed; the store gets none.

    Raises:
        NotFound, Corrupted, Unavailable: as ``push`` and ``fetch`` raise them.
    """
    source.check(writing=False)
    target.check(writing=True)
    coming: dict[str, Path] = {}
    try:
        for tree in dict.fromkeys(trees):
            coming[tree] = download(source, tree, store)
        files = _files_of(loads(path.read_bytes()) for path in coming.values())

        def carry(names: list[str]) -> tuple[int, int]:
            size = 0
            for md5 in names:
                place = download(source, md5, store)
                try:
                    size += place.stat().st_size
                    target.put_all({md5: place})
                finally:
                    place.unlink(missing_ok=True)
            return len(names), size

        missing = sorted(files - _held(target, files, jobs).keys())
        absent = sorted(coming.keys() - target.held(coming.keys()).keys())
        count = _Count(len(missing) + len(absent), progress)
        count.add_all(each(shares(missing, jobs, _TOGETHER), carry, jobs))
        reach("replicate.objects-done")
        target.put_all({tree: coming[tree] for tree in absent})
        count.add_all((1, coming[tree].stat().st_size) for tree in absent)
    finally:
        for temporary in coming.values():
            temporary.unlink(missing_ok=True)
    return count.transferred


class _Count:
    """Adds up what is done, and says so."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self.transferred = Transferred(0, 0)

    def add_all(self, done: Iterable[tuple[int, int]]) -> None:
        for objects, size in done:
            self.transferred = Transferred(self.transferred.objects + objects, self.transferred.bytes + size)
            if self._progress is not None:
                self._progress(self.transferred.objects, self._total)


def _files_of(trees: Iterable[Tree]) -> set[str]:
    return {md5 for tree in trees for md5 in tree.values()}


def _fetcher(store: Store, remote: Source) -> Callable[[list[str]], tuple[int, int]]:
    def get(names: list[str]) -> tuple[int, int]:
        size = 0
        with incoming(store) as pending:
            for name in names:
                pending[name] = download(remote, name, store)
                size += pending[name].stat().st_size
        return len(names), size

    return get


def _held(remote: Source, names: Collection[str], jobs: int) -> dict[str, int]:
    by_folder: dict[str, list[str]] = {}
    for name in names:
        by_folder.setdefault(name[:2], []).append(name)
    return {name: size for found in each(by_folder.values(), remote.held, jobs) for name, size in found.items()}


def _missing(store: Store, remote: Source, names: Collection[str], jobs: int) -> list[str]:
    """What the remote lacks or has in another size; of what the store has not, the remote's word is enough."""
    held = _held(remote, names, jobs)
    missing = []
    for name in sorted(names):
        if not has(store, name):
            if name not in held:
                raise NotFound(f"object {name} is neither in the store {store.root} nor at the remote {remote.address}")
        elif held.get(name) != store.size_of(name):
            missing.append(name)
    return missing
