"""What belongs into a backup: what the database names at one moment, and files that are the only copy of something."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.backup.contents import Contents, File
from learnloop.database import (
    ConfirmedAnnotation,
    Dataset,
    DatasetVersion,
    Round,
    VersionStorage,
)
from learnloop.datasets import gc
from learnloop.datasets.replica import bundles_of
from learnloop.datasets.roots import Marked, objects_of
from learnloop.datasets.store import Store
from learnloop.errors import InvalidInput
from learnloop.settings import Settings

SECRETS = "secrets"


def roots_of(settings: Settings, *, sealed: bool) -> dict[str, Path]:
    """Folders of which all files belong into a backup; what a stack keeps secret only where it is sealed."""
    return {
        "models": settings.models,
        "namespaces/results": settings.namespaces / "results",
        "namespaces/models": settings.namespaces / "models",
        **({SECRETS: settings.home / "secrets"} if sealed else {}),
    }


def secret_files(settings: Settings) -> list[Path]:
    """What the settings name besides, such as what a container engine puts elsewhere.

    Raises:
        InvalidInput: two have one name, or one is not there.
    """
    files = [Path(name) for name in settings.backup_secrets.split(":") if name]
    if len({file.name for file in files}) < len(files):
        raise InvalidInput(f"LEARNLOOP_BACKUP_SECRETS names two files of one name: {settings.backup_secrets}")
    if missing := [str(file) for file in files if not file.is_file()]:
        raise InvalidInput(f"LEARNLOOP_BACKUP_SECRETS names {', '.join(missing)}, and there is no such file")
    return files


def places_of(settings: Settings) -> dict[str, str]:
    """Where rows may say that something is: as absolute paths, which another machine has elsewhere."""
    return {"models": str(settings.models), "namespaces": str(settings.namespaces), "home": str(settings.home)}


def objects(session: Session, store: Store) -> Contents:
    """The objects that rows name, with sizes; those that only the remote has without (0), and the bundles there.

    Call it while nothing is collected. ``session`` sees the moment that is backed up.
    """
    marked = Marked(store, gc.trash_folder(store))
    marked.mark(session)
    found = Contents()
    for name in sorted(marked.names):
        found.objects[name] = _size(gc.find(store, name))
    warm = select(DatasetVersion.tree).join(VersionStorage).where(VersionStorage.tier == "warm").distinct()
    for tree in session.scalars(warm):
        for name in (tree, *objects_of(store, tree)):
            found.remote.setdefault(name, found.objects.get(name, 0))
    found.bundles = [File("bundle", bundle.name, 0, bundle.sha256) for bundle in bundles_of(session)]
    return found


def counts(session: Session) -> dict[str, int]:
    """What a person wants to see of it."""
    kinds = {"datasets": Dataset, "versions": DatasetVersion, "confirmed labels": ConfirmedAnnotation, "rounds": Round}
    return {name: session.scalar(select(func.count()).select_from(kind)) or 0 for name, kind in kinds.items()}


def files_below(root: str, folder: Path, known: dict[tuple[str, str], File]) -> Iterator[tuple[File, Path]]:
    """Every regular file below a folder; one that is as ``known`` has it is not read."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.endswith(".part"))
        for name in sorted(names):
            path = Path(parent) / name
            relative = str(path.relative_to(folder))
            try:
                state = path.lstat()
                if not stat.S_ISREG(state.st_mode) or name == ".lock" or name.endswith(".part"):
                    continue
                before = known.get((root, relative))
                if before is not None and (before.size, before.mtime_ns) == (state.st_size, state.st_mtime_ns):
                    yield before, path
                    continue
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                continue  # removed since the folder was read
            mode = stat.S_IMODE(state.st_mode)
            yield File(root, relative, state.st_size, sha256, mode, state.st_mtime_ns), path


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # the remote may have it
