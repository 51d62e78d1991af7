"""What changed between two versions: files by their hash, and in keyed tables records by their key.

Counts are complete; what is listed is limited. A record's change is told by field, before and after.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from learnloop.database import DatasetVersion
from learnloop.datasets.record_diff import Counts, TableChanges, diff_tables
from learnloop.datasets.store import Store
from learnloop.datasets.tables import KEY, read_table
from learnloop.datasets.tree import Tree
from learnloop.errors import InvalidDataset, InvalidInput


@dataclass(frozen=True)
class FileChanges:
    """Paths in order, at most as many of each kind as asked for; ``renamed`` holds (before, after)."""

    counts: Counts
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class VersionChanges:
    """What makes ``after`` out of ``before``, two versions' names. ``tables`` are the keyed ones that differ."""

    before: str
    after: str
    files: FileChanges
    tables: tuple[TableChanges, ...]


def diff(
    store: Store,
    before: DatasetVersion,
    after: DatasetVersion,
    *,
    limit: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> VersionChanges:
    """What changed from one version to another, of whatever line or dataset.

    Args:
        limit: how many of each kind are listed, of files and of each table's records. 0 lists none.
        progress: called with (tables compared, tables to compare).

    Raises:
        InvalidInput: a negative ``limit``.
        NotFound, Corrupted: a tree or table is missing from the store or damaged.
    """
    if limit < 0:
        raise InvalidInput(f"a diff lists 0 or more of each kind, not {limit}")
    old, new = store.read_tree(before.tree), store.read_tree(after.tree)
    paths = [path for path in {**old, **new} if path.endswith(".parquet") and old.get(path) != new.get(path)]
    tables = []
    for done, path in enumerate(sorted(paths), start=1):
        changes = _diff_stored(store, path, old.get(path), new.get(path), limit)
        if changes is not None:
            tables.append(changes)
        if progress is not None:
            progress(done, len(paths))
    return VersionChanges(before.name, after.name, diff_files(old, new, limit), tuple(tables))


def diff_files(before: Tree, after: Tree, limit: int = 100) -> FileChanges:
    """What changed from one tree to another. A file that went and one that came with its content are one renamed."""
    removed = [path for path in before if path not in after]
    added = [path for path in after if path not in before]
    changed = [path for path, md5 in after.items() if before.get(path, md5) != md5]
    places = defaultdict(list)
    for path in reversed(removed):
        places[before[path]].append(path)
    renamed = [(places[after[path]].pop(), path) for path in added if places.get(after[path])]
    gone, came = {old for old, _ in renamed}, {new for _, new in renamed}
    removed = [path for path in removed if path not in gone]
    added = [path for path in added if path not in came]
    return FileChanges(
        counts=Counts(len(added), len(removed), len(changed), len(renamed)),
        added=tuple(added[:limit]),
        removed=tuple(removed[:limit]),
        changed=tuple(changed[:limit]),
        renamed=tuple(renamed[:limit]),
    )


def _diff_stored(store: Store, path: str, old: str | None, new: str | None, limit: int) -> TableChanges | None:
    before, after = _read(store, path, old), _read(store, path, new)
    if before is None and after is None:
        return None
    empty = pa.table({KEY: pa.array([], pa.string())})
    return diff_tables(path, empty if before is None else before, empty if after is None else after, limit)


def _read(store: Store, path: str, md5: str | None) -> pa.Table | None:
    """The keyed table stored as ``md5``; None when there is none, or it is a Parquet file of another kind."""
    if md5 is None:
        return None
    data = store.read(md5)
    try:
        return read_table(data, where=path)
    except InvalidDataset:
        return None
