"""A tree: which path has which content, in the bytes and under the hash that DVC gives a directory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass

from learnloop.errors import InvalidInput

_MD5S = re.compile(r"[0-9a-f]{32}(?:\0[0-9a-f]{32})*")
_NO_PART = re.compile(r"(?:\A|[/\0])\.{0,2}(?:[/\0]|\Z)")  # an empty, "." or ".." part of a path
_quoted = json.encoder.encode_basestring_ascii


@dataclass(frozen=True)
class TreeObject:
    """What a tree is in a store: the object's name (``<md5>.dir``) and its size in bytes."""

    name: str
    size: int


class Tree(Mapping[str, str]):
    """Immutable mapping of relative posix path to md5 (32 hex digits), iterated in order of path.

    Raises:
        InvalidInput: a path is absolute, has empty, ``.`` or ``..`` parts, or is both a file and a folder; or a
            hash is no md5. A tree may come from elsewhere, and its paths are written to disk.
    """

    __slots__ = ("_entries", "_object")

    def __init__(self, entries: Mapping[str, str]) -> None:
        if entries:
            _check(entries)
        # DVC sorts by the path's text, not by its parts.
        self._entries = {path: entries[path] for path in sorted(entries)}
        self._object: TreeObject | None = None

    @classmethod
    def known(cls, entries: dict[str, str], name: str, size: int) -> Tree:
        """A tree that was one before: ``entries`` in its order, its hash, and how many bytes its object has."""
        tree = cls({})
        tree._entries = entries
        tree._object = TreeObject(name, size)
        return tree

    @property
    def object(self) -> TreeObject:
        """The tree's object, made once."""
        if self._object is None:
            data = dumps(self)
            self._object = TreeObject(hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir", len(data))
        return self._object

    def __getitem__(self, path: str) -> str:
        return self._entries[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    # The dictionary's own views: those of Mapping call __getitem__ for every entry.

    def keys(self) -> KeysView[str]:
        return self._entries.keys()

    def values(self) -> ValuesView[str]:
        return self._entries.values()

    def items(self) -> ItemsView[str, str]:
        return self._entries.items()

    def __repr__(self) -> str:
        return f"Tree({tree_hash(self)}, {len(self)} files)"

    def updated(self, entries: Mapping[str, str]) -> Tree:
        """A tree with ``entries`` added or put in place of what has their path."""
        return Tree({**self._entries, **entries})


def _check(entries: Mapping[str, str]) -> None:
    """Look at all paths and hashes as one text each: ten times faster than one by one."""
    paths, hashes = "\0".join(entries), "\0".join(entries.values())
    if paths.count("\0") >= len(entries) or _NO_PART.search(paths):
        wrong = next(path for path in entries if "\0" in path or _NO_PART.search(path))
        raise InvalidInput(f"{wrong!r} is not a path inside a tree")
    if not _MD5S.fullmatch(hashes) or len(hashes) != 33 * len(entries) - 1:
        path, md5 = next((path, md5) for path, md5 in entries.items() if "\0" in md5 or not _MD5S.fullmatch(md5))
        raise InvalidInput(f"{path}: {md5!r} is not an md5 hash")
    new = {path.rpartition("/")[0] for path in entries}
    folders: set[str] = set()
    while new:
        folders |= new
        new = {folder.rpartition("/")[0] for folder in new} - folders
    if clash := sorted(folders & entries.keys()):
        raise InvalidInput(f"{clash[0]} is both a file and a folder in one tree")


def dumps(tree: Tree) -> bytes:
    """The bytes of DVC's ``.dir`` object (``dvc_data.hashfile.tree.Tree.as_bytes``)."""
    # What json.dumps makes of [{"md5": ..., "relpath": ...}, ...], in an eighth of its time.
    entries = [f'{{"md5": "{md5}", "relpath": {_quoted(path)}}}' for path, md5 in tree.items()]
    return f"[{', '.join(entries)}]".encode()


def tree_hash(tree: Tree) -> str:
    """The name of the tree's object: the md5 of its bytes and ``.dir``."""
    return tree.object.name


def loads(data: bytes) -> Tree:
    """Parse the bytes of a ``.dir`` object.

    Raises:
        InvalidInput: they are not a DVC tree, or one with a path or hash that cannot be.
    """
    try:
        raw = json.loads(data)
        pairs = [(entry["relpath"], entry["md5"]) for entry in raw]
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"not a DVC directory object: {error!r}") from error
    if not all(isinstance(path, str) and isinstance(md5, str) for path, md5 in pairs):
        raise InvalidInput("not a DVC directory object: relpath and md5 must be text")
    if len({path for path, _ in pairs}) < len(pairs):
        raise InvalidInput("not a DVC directory object: a path appears twice")
    return Tree(dict(pairs))
