"""Checksums of files and folders, and writing that is whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learnloop.errors import Corrupted

MANIFEST = "manifest.json"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """All regular files below ``folder``, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` so that ``path`` is either as before or complete, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync_folder(path.parent)


def write_beside(path: Path, text: str) -> None:
    """Write ``text`` to a file in a folder that a job may write to, too: no link of the job's making is followed."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o644)
        file.write(text)
    Path(temporary).replace(path)


def fsync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(folder: Path) -> None:
    """Write the sha256 of every file below ``folder`` into its ``manifest.json``."""
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in files_below(folder) if path.name != MANIFEST}
    write_json(folder / MANIFEST, {"files": files})


def check_manifest(folder: Path) -> None:
    """Compare every file that ``manifest.json`` lists with its checksum.

    Raises:
        Corrupted: a file is missing or changed, or the manifest itself cannot be read.
    """
    try:
        listed: dict[str, str] = json.loads((folder / MANIFEST).read_text())["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupted(
            f"{folder / MANIFEST} is not a manifest: {error}; take the folder from its source again"
        ) from error
    for name, digest in listed.items():
        path = folder / name
        if not path.is_file():
            raise Corrupted(
                f"{path} is missing, but the folder's manifest lists it; take the folder from its source again"
            )
        if sha256(path) != digest:
            raise Corrupted(f"{path} does not match its checksum in {MANIFEST}; take the folder from its source again")
