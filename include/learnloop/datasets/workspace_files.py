"""Where workspaces are, and that nothing in them leads anywhere else.

A workspace's files belong to its owner, who may put any link into them; the platform reads them with its own rights.
A link that leads out of the workspace would let a commit read what its owner may not.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from learnloop.datasets.names import RESERVED
from learnloop.errors import InvalidDataset, InvalidInput
from learnloop.jobs.namespace import WORKSPACES, namespace_of

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SHOWN = 10


def place_of(namespaces: Path, owner: str, name: str) -> Path:
    """``{namespaces}/data/{owner}/workspaces/{name}``.

    Raises:
        InvalidInput: a workspace cannot be called so, or a folder on the way is a link.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"a workspace cannot be called {name!r}: 1 to 63 lower-case letters, digits and '-', not '-' first"
        )
    if name in RESERVED:
        raise InvalidInput(f"a workspace cannot be called {name!r}, a reserved word: call it something like my-{name}")
    place = namespace_of(namespaces, "data", owner) / WORKSPACES / name
    refuse_linked(place)
    return place


def refuse_linked(place: Path) -> None:
    """Raise InvalidInput when a workspace, or a folder of its namespace, is a link to elsewhere."""
    for folder in (place, *place.parents[:3]):  # workspaces, the owner's, data
        if folder.is_symlink():
            raise InvalidInput(f"{folder} is a link; a namespace's folders must be folders: remove the link")


def refuse_escapes(place: Path, paths: list[str]) -> None:
    """Raise InvalidDataset when a file of a workspace, or a folder on the way to it, is a link that leads out of it."""
    folders = {path.rpartition("/")[0] for path in paths}
    inside = os.path.realpath(place) + os.sep
    links = [path for path in (*sorted(folders), *paths) if os.path.islink(place / path)]  # noqa: PTH114 - see files.py
    escapes = [path for path in links if not os.path.realpath(place / path).startswith(inside)]
    if escapes:
        more = len(escapes) - _SHOWN
        raise InvalidDataset(
            f"{place} holds links that lead out of it: put the files themselves there",
            escapes[:_SHOWN] + ([f"and {more} more"] if more > 0 else []),
        )


def staging_of(place: Path, workspace_id: int) -> Path:
    """The hidden folder beside ``place`` in which its files are put together; no workspace can be called so."""
    return place.parent / f".{place.name}.{workspace_id}"


def remove_files(place: Path, workspace_id: int, *, placed: bool) -> None:
    """Remove what a workspace has on disk, at its place if ``placed``; a link there is removed, not followed."""
    for folder in (staging_of(place, workspace_id), *([place] if placed else [])):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
