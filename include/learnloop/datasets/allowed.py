"""Which folders people may have the platform read from and write to: it does both with its own rights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from learnloop.datasets.names import check_line
from learnloop.errors import InvalidInput, PermissionDenied

# Below the state directory, what people have to do with; the rest of it is the platform's own, secrets among it.
OPEN_PLACES = ("namespaces", "demo")
_SHOWN = 5


def allowed_folder(path: str | Path, *, roots: Sequence[Path], home: Path) -> Path:
    """``path`` with its links resolved, if it may be read or written.

    Args:
        roots: the folders below which it must be.
        home: the state directory, of which only ``namespaces`` and ``demo`` are open.

    Raises:
        InvalidInput: not absolute, with ``..``, or text that cannot be a path.
        PermissionDenied: outside the roots, or inside the platform's own files.
    """
    text = check_line(str(path), "a path")
    if not text.startswith("/") or ".." in text.split("/"):
        raise InvalidInput(f"{text!r} must be an absolute path without '..'")
    place = Path(os.path.realpath(text))
    if not _may(place, roots, home):
        named = ", ".join(str(root) for root in roots)
        raise PermissionDenied(
            f"{text} is outside the allowed roots ({named}) or inside the platform's own files:"
            " move it, or have LEARNLOOP_ALLOWED_ROOTS name its folder"
        )
    return place


def refuse_links_out(folder: Path, *, roots: Sequence[Path], home: Path) -> None:
    """Raise when a file link of ``folder`` leads where its reader may not read: a snapshot takes what links lead to.

    Raises:
        PermissionDenied: naming the links.
    """
    bad = []
    for parent, _, names in os.walk(folder):
        with os.scandir(parent) as entries:
            links = [entry.path for entry in entries if entry.is_symlink() and entry.name in names]
        bad += [link for link in links if not _may(Path(os.path.realpath(link)), roots, home)]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise PermissionDenied(f"links lead outside the allowed roots: {', '.join(sorted(bad)[:_SHOWN])}{more}")


def _may(place: Path, roots: Sequence[Path], home: Path) -> bool:
    own = Path(os.path.realpath(home))
    if place.is_relative_to(own):
        return any(place.is_relative_to(own / name) for name in OPEN_PLACES)
    if own.is_relative_to(place):
        return False  # a folder that holds the state directory holds its secrets
    return any(place.is_relative_to(os.path.realpath(root)) for root in roots)
