"""Which folders people may have the platform read from and write to: it does both with its own rights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from learnloop.datasets.names import check_line
from learnloop.errors import InvalidInput, PermissionDenied
from learnloop.jobs.namespace import KINDS, namespace_of

_SHOWN = 5


def allowed_folder(path: str | Path, *, user: str, roots: Sequence[Path], home: Path, namespaces: Path) -> Path:
    """``path`` with its links resolved, if ``user`` may have it read or written.

    Args:
        roots: the folders below which it must be.
        home: the state directory. It is the platform's own, secrets among it, but for the demo's data.
        namespaces: holds people's own folders; each is open to its owner alone.

    Raises:
        InvalidInput: not absolute, with ``..``, or text that cannot be a path.
        PermissionDenied: outside the roots, or inside the platform's own files.
    """
    text = check_line(str(path), "a path")
    if not text.startswith("/") or ".." in text.split("/"):
        raise InvalidInput(f"{text!r} must be an absolute path without '..'")
    place = Path(os.path.realpath(text))
    if not _may(place, user, roots, home, namespaces):
        named = ", ".join(str(root) for root in roots)
        raise PermissionDenied(
            f"{text} is outside the allowed roots ({named}), or inside the platform's or another person's files:"
            " move it, or have LEARNLOOP_ALLOWED_ROOTS name its folder"
        )
    return place


def refuse_links_out(folder: Path, *, user: str, roots: Sequence[Path], home: Path, namespaces: Path) -> None:
    """Raise when a file link of ``folder`` leads where its reader may not read: a snapshot takes what links lead to.

    Raises:
        PermissionDenied: naming the links.
    """
    bad = []
    for parent, _, names in os.walk(folder):
        with os.scandir(parent) as entries:
            links = [entry.path for entry in entries if entry.is_symlink() and entry.name in names]
        bad += [link for link in links if not _may(Path(os.path.realpath(link)), user, roots, home, namespaces)]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise PermissionDenied(f"links lead outside the allowed roots: {', '.join(sorted(bad)[:_SHOWN])}{more}")


def _may(place: Path, user: str, roots: Sequence[Path], home: Path, namespaces: Path) -> bool:
    own, names = Path(os.path.realpath(home)), Path(os.path.realpath(namespaces))
    if place.is_relative_to(names):
        return any(place.is_relative_to(namespace_of(names, kind, user)) for kind in KINDS)
    if place.is_relative_to(own):
        return place.is_relative_to(own / "demo")
    if own.is_relative_to(place) or names.is_relative_to(place):
        return False  # a folder that holds the state directory holds its secrets
    return any(place.is_relative_to(os.path.realpath(root)) for root in roots)
