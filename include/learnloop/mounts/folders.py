"""Mounts as folders: all of them on one machine, and on a cluster those that are copies of objects.

``{namespaces}/mounts/{user}/{key}/`` holds ``mount.json`` (the record) and ``files/``, which is what the job sees.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.errors import NotFound, OutOfSpace
from learnloop.jobs.checksums import fsync_folder
from learnloop.jobs.mount import Mount
from learnloop.jobs.mount_check import FILES, MARKER
from learnloop.jobs.namespace import MOUNTS, namespace_of
from learnloop.jobs.quantities import quantity_of
from learnloop.mounts.made import Record
from learnloop.mounts.objects import Objects


@dataclass(frozen=True)
class Found:
    """A folder among the mounts. ``record`` is None for one that we did not make."""

    folder: Path
    record: Record | None


class Folders:
    """Makes, lists and removes mounts below ``namespaces``.

    Args:
        options: fsspec's storage options for a URL; by default those of the environment are used.
    """

    def __init__(self, namespaces: Path, options: Callable[[str], Mapping[str, Any]] = lambda _: {}) -> None:
        self.namespaces = namespaces
        self.options = options

    def prepare(self, mount: Mount, record: Record) -> tuple[Path, bool]:
        """The folder of ``mount``, and whether it was there before.

        Raises:
            OutOfSpace: the disk has not so much room.
        """
        folder = namespace_of(self.namespaces, MOUNTS, record.user) / (record.stage_key if record.url else record.key)
        if (folder / MARKER).exists():
            return folder / FILES, True
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if free < mount.bytes:
            raise OutOfSpace(
                f"mount {mount.name} needs {mount.size}, and {quantity_of(free >> 20 << 20)} are free in {self.namespaces}"
            )
        part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        (part / FILES).mkdir(parents=True)
        (part / MARKER).write_text(record.model_dump_json(), encoding="utf-8")
        try:
            if record.url is not None:
                self.objects(record.url).fetch(part)
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part)
            if (folder / MARKER).exists():  # another try of the same task was first
                return folder / FILES, True
            raise
        fsync_folder(folder.parent)
        return folder / FILES, False

    def record_of(self, record: Record) -> Record | None:
        """The record of the folder that ``record`` would be; None when there is none."""
        marker = namespace_of(self.namespaces, MOUNTS, record.user) / record.key / MARKER
        return Record.read(marker.read_text(encoding="utf-8")) if marker.is_file() else None

    def adopt(self, mount: Mount, user: str) -> Path:
        """The folder that ``mount.claim`` names among ``user``'s.

        Raises:
            NotFound: there is none.
        """
        folder = namespace_of(self.namespaces, MOUNTS, user) / str(mount.claim)
        if not folder.is_dir() or folder.is_symlink():
            raise NotFound(f"mount {mount.name} is to be the folder {folder}, and there is none")
        return folder

    def objects(self, url: str) -> Objects:
        return Objects(url, self.options(url))

    def all(self) -> list[Found]:
        """Every mount there is, of everybody."""
        root = self.namespaces / MOUNTS
        found = []
        for folder in sorted(root.glob("*/*")):
            if folder.name.startswith("."):
                continue  # being made, or being removed
            marker = folder / MARKER
            record = Record.read(marker.read_text(encoding="utf-8")) if marker.is_file() else None
            found.append(Found(folder, record))
        return found

    def remove(self, found: Found) -> None:
        """Remove a mount of ours; of a copy of objects, what has changed is uploaded before."""
        if found.record is None:
            raise ValueError(f"{found.folder} was not made by us")
        if found.record.url is not None and not found.record.only_read:
            self.objects(found.record.url).upload(found.folder, found.record)
        gone = found.folder.with_name(f".{found.folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            found.folder.rename(gone)
        except FileNotFoundError:
            return  # somebody else has just removed it
        shutil.rmtree(gone)
