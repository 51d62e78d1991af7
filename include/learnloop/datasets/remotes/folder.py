"""A remote in a folder: another disk, a network mount."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from learnloop.datasets import copies, durable
from learnloop.datasets.remotes.base import Listed, damaged, disk_of, object_at, relative_path
from learnloop.errors import NotFound
from learnloop.faultpoints import reach

_STALE = 24 * 3600.0  # seconds after which a temporary file belongs to a push that was killed


class FolderRemote:
    """Objects are written as temporary files beside their place, made durable, and renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._temporary = root / "tmp"

    @property
    def address(self) -> str:
        return str(self.root)

    def check(self, *, writing: bool) -> None:
        """A folder that is to be written to is made, but not the one it lies in: that may be a missing mount."""
        if not (self.root.parent if writing else self.root).is_dir():
            raise NotFound(
                f"there is no remote at {self.root}: create the folder, or mount it, or correct the remote's address"
            )
        if writing:
            with disk_of(self.address):
                self._temporary.mkdir(parents=True, exist_ok=True)
                self._remove_stale()

    def held(self, names: Collection[str]) -> dict[str, int]:
        sizes = {}
        for name in names:
            try:
                sizes[name] = self._place(name).stat().st_size
            except FileNotFoundError:
                continue
        return sizes

    def put_all(self, objects: Mapping[str, Path]) -> None:
        pending: dict[str, Path] = {}
        with disk_of(self.address):
            try:
                for name, source in objects.items():
                    pending[name] = self._temporary / uuid.uuid4().hex
                    self._write(name, source, pending[name])
                reach("push.temporaries-written")
                durable.sync(pending.values())
                folders = {self._publish(name, temporary) for name, temporary in pending.items()}
                durable.sync({*folders, *(folder.parent for folder in folders)})
            finally:
                for temporary in pending.values():
                    temporary.unlink(missing_ok=True)

    def get(self, name: str, target: Path) -> None:
        self._read(self._place(name), target, f"object {name}")

    def listed(self) -> Iterator[Listed]:
        for parent, _, files in os.walk(self.root / "files" / "md5"):
            for file in files:
                if name := object_at(f"{parent}/{file}"):
                    try:
                        state = os.stat(f"{parent}/{file}")  # noqa: PTH116 - for every file
                    except FileNotFoundError:
                        continue  # removed since the folder was read
                    yield Listed(name, state.st_size, state.st_mtime)

    def has(self, paths: Collection[str]) -> set[str]:
        return {path for path in paths if (self.root / path).exists()}

    def upload(self, path: str, source: Path) -> None:
        target = self.root / path
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
        with disk_of(self.address):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with source.open("rb") as file, temporary.open("xb") as copy:
                    copies.copy(file, copy)
                durable.sync([temporary])
                temporary.replace(target)
                durable.sync([target.parent])
            finally:
                temporary.unlink(missing_ok=True)

    def download(self, path: str, target: Path) -> None:
        self._read(self.root / path, target, path)

    def files(self, folder: str) -> list[str]:
        return [
            os.path.relpath(f"{parent}/{name}", self.root)
            for parent, _, files in os.walk(self.root / folder)
            for name in files
        ]

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        return self.root / relative_path(name)

    def _read(self, place: Path, target: Path, what: str) -> None:
        try:
            with (
                disk_of(self.address),
                place.open("rb") as source,
                disk_of(str(target.parent)),
                target.open("wb") as file,
            ):
                if not copies.clone(source, file):
                    copies.copy(source, file)
        except FileNotFoundError as error:
            raise NotFound(f"{what} is not at the remote {self.root}") from error

    def _write(self, name: str, source: Path, temporary: Path) -> None:
        with source.open("rb") as file, temporary.open("xb") as copy:
            if copies.copy(file, copy) != name[:32]:
                raise damaged(name, source)
            os.fchmod(copy.fileno(), 0o444)

    def _publish(self, name: str, temporary: Path) -> Path:
        target = self._place(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
        reach("push.object-placed")
        return target.parent

    def _remove_stale(self) -> None:
        for temporary in self._temporary.iterdir():
            try:
                if temporary.stat().st_mtime < time.time() - _STALE:
                    temporary.unlink()
            except FileNotFoundError:
                continue  # another push took it, or took it away
