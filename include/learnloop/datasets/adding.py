"""A source becomes a tree in the store, reading only what has changed since the last time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learnloop.datasets.durable import telling_of_a_full_disk
from learnloop.datasets.index import Index, Seen, index_file, read_index, size_in, write_index
from learnloop.datasets.parallel import shared
from learnloop.datasets.sources import Source, refuse_changes
from learnloop.datasets.tree import Tree
from learnloop.datasets.writing import Group
from learnloop.errors import InvalidDataset, InvalidInput
from learnloop.faultpoints import reach

if TYPE_CHECKING:
    from learnloop.datasets.store import Store

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""

_GROUP = 10_000  # files made durable together
_GROUP_BYTES = 1 << 30
_SHAREABLE = 2_000  # files; from here on a process of its own for half of them saves time


@dataclass(frozen=True)
class Added:
    """What a source holds, all of it in the store."""

    tree: Tree
    bytes: int
    """The sum of the files' sizes."""
    read: int
    """How many files were read; the others are as they were the last time."""


def add_source(store: Store, source: Source, progress: Progress | None = None) -> Added:
    """Store copies of all files of ``source``. The tree is not written: see ``Store.write_tree``.

    Args:
        progress: called with (files done, files) now and then.

    Raises:
        InvalidDataset: the source holds what cannot be tracked.
        Conflict: a file changed, came or went while the source was read.
        OutOfSpace: the store's disk is full; nothing but whole objects was added.
    """
    started = time.time_ns()
    before = store.generation()
    file = index_file(store.root, source.name)
    index = read_index(file)
    seen = source.scan(len(index.stamps))
    standing = store.standing(index.shards)
    entries = index.unchanged(seen)
    if lost := store.absent(md5 for md5 in entries.values() if md5[:2] not in standing):
        entries = {path: md5 for path, md5 in entries.items() if md5 not in lost}
    elif index.tree is not None and seen == index.stamps:
        if progress is not None:
            progress(len(seen), len(seen))
        tree = Tree.known(entries, index.tree.name, index.tree.size)
        store.is_complete(tree, index.shards)
        return Added(tree, index.bytes, 0)
    to_read = sorted(seen.keys() - entries.keys())
    done = len(entries)
    if progress is not None:
        progress(done, len(seen))
    facts: list[bytes] = []
    for paths in _groups(to_read, seen):
        for taken, news in _take_group(store, source, paths, seen):
            entries.update(taken)
            facts += news
        done += len(paths)
        if progress is not None:
            progress(done, len(seen))
    if to_read:
        # Only now: what was at rest from before the first to after the last reading is one consistent state.
        refuse_changes(source, seen, source.scan(len(seen)))
        store.verified.add(facts)
    tree = _tree(source, entries)
    shards = store.shards(tree.values()) if store.is_as_it_was(before) else {}
    store.is_complete(tree, shards)
    size = sum(map(size_in, seen.values()))
    if to_read or seen != index.stamps:
        # What was not read was settled before, or it would not be in the index.
        unsettled = {path for path in to_read if not source.is_settled(seen[path], started)}
        settled = {path: stamp for path, stamp in seen.items() if path not in unsettled} if unsettled else seen
        hashes = {path: md5 for path, md5 in tree.items() if path not in unsettled} if unsettled else dict(tree.items())
        whole = None if unsettled else tree.object
        with telling_of_a_full_disk(store.root):
            write_index(file, store.new_temporary(), Index(settled, hashes, whole, size, shards))
        reach("snapshot.index-written")
    return Added(tree, size, len(to_read))


def _groups(paths: Sequence[str], seen: Seen) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for path in paths:
        group.append(path)
        size += size_in(seen[path])
        if len(group) == _GROUP or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _take_group(store: Store, source: Source, paths: list[str], seen: Seen) -> list[tuple[dict[str, str], list[bytes]]]:
    """Add files to the store; (path -> md5, facts of the new objects) of parts of them."""

    def take(part: Sequence[str]) -> tuple[dict[str, str], list[bytes]]:
        with store.adding() as group:
            entries = _take(source, part, seen, group)
        return entries, group.facts

    return shared(take, paths) if source.processes and len(paths) >= _SHAREABLE else [take(paths)]


def _take(source: Source, paths: Sequence[str], seen: Seen, group: Group) -> dict[str, str]:
    threaded = [path for path in paths if source.worth_a_thread(seen[path])] if source.workers > 1 else []
    if len(threaded) < 2:
        return {path: source.take(path, seen[path], group) for path in paths}
    with ThreadPoolExecutor(source.workers) as pool:
        waiting = {path: pool.submit(source.take, path, seen[path], group) for path in threaded}
        try:
            taken = {path: source.take(path, seen[path], group) for path in paths if path not in waiting}
            return taken | {path: future.result() for path, future in waiting.items()}
        finally:
            pool.shutdown(cancel_futures=True)


def _tree(source: Source, entries: dict[str, str]) -> Tree:
    try:
        return Tree(entries)
    except InvalidInput as error:  # a folder's paths are proper; an object storage's keys may be anything
        raise InvalidDataset(f"{source.name} cannot be tracked: {error}") from error
