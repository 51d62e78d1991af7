"""Three trees become one, file by file, by hash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from operator import ne
from typing import Literal

Choice = Literal["ours", "theirs", "base"]
"""Which of a conflict's three values counts."""

_NOTHING: Mapping[str, Choice] = {}


@dataclass(frozen=True)
class FileConflict:
    """A file that both sides changed, each otherwise. The values are md5 hashes; None where it is not there."""

    path: str
    base: str | None
    ours: str | None
    theirs: str | None


@dataclass(frozen=True)
class TreeMerge:
    """What came of it. ``entries`` holds, for each conflict, what was chosen: unless told otherwise, ours."""

    entries: dict[str, str]
    conflicts: tuple[FileConflict, ...]


def merge_trees(
    base: Mapping[str, str],
    ours: Mapping[str, str],
    theirs: Mapping[str, str],
    choices: Mapping[str, Choice] = _NOTHING,
) -> TreeMerge:
    """Merge what ``ours`` and ``theirs`` did to ``base``. All map relative paths to hashes.

    A file that one side changed, added or deleted is as that side has it. No conflict: both sides did the same. A
    conflict: they gave a path different content; one deleted what the other changed; one has a file where
    the other has a folder (then each of the two paths is one).

    Args:
        choices: by path, which value a conflict gets.
    """
    # As plain dictionaries, of which what follows is several times faster.
    base, ours, theirs = (side if type(side) is dict else dict(side.items()) for side in (base, ours, theirs))
    entries = dict(ours)
    conflicts: dict[str, FileConflict] = {}
    for path in _changed(base, theirs):
        before, mine, other = base.get(path), ours.get(path), theirs.get(path)
        if mine == other:
            continue
        if mine == before:
            _put(entries, path, other)
        else:
            conflicts[path] = FileConflict(path, before, mine, other)
    for path in _clashes(base, ours, theirs, entries, conflicts):
        conflicts.setdefault(path, FileConflict(path, base.get(path), ours.get(path), theirs.get(path)))
        _put(entries, path, ours.get(path))
    for path, conflict in conflicts.items():
        if (choice := choices.get(path)) is not None:
            _put(entries, path, getattr(conflict, choice))
    return TreeMerge(entries, tuple(conflicts[path] for path in sorted(conflicts)))


def _changed(base: dict[str, str], side: dict[str, str]) -> Iterator[str]:
    """The paths that ``side`` added, changed or deleted."""
    yield from compress(side, map(ne, side.values(), map(base.get, side)))
    yield from base.keys() - side.keys()


def _put(entries: dict[str, str], path: str, md5: str | None) -> None:
    if md5 is None:
        entries.pop(path, None)
    else:
        entries[path] = md5


def _clashes(
    base: dict[str, str],
    ours: dict[str, str],
    theirs: dict[str, str],
    entries: dict[str, str],
    conflicts: dict[str, FileConflict],
) -> set[str]:
    """Paths of the merged files that would have to be file and folder at once.

    Neither side has such a pair, so that one of the two is new, or is a conflict.
    """
    found: set[str] = set()
    for path in (ours.keys() - base.keys()) | (theirs.keys() - base.keys()) | conflicts.keys():
        folder = path.rpartition("/")[0]
        while folder:
            if (folder in entries or folder in conflicts) and (path in entries or path in conflicts):
                found |= {folder, path}
            folder = folder.rpartition("/")[0]
    return found
