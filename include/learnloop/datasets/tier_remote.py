"""What tiers need of a remote; a folder and an fsspec URL that give it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from learnloop.datasets import copies, durable
from learnloop.datasets.remotes.fs import FsspecRemote
from learnloop.datasets.remotes.open import refuse_credentials
from learnloop.errors import InvalidInput, NotFound


class Remote(Protocol):
    """Files by name: ``files/md5/xx/yyyy...`` for objects, ``archive/...`` for bundles."""

    def has(self, names: Collection[str]) -> set[str]:
        """Those of ``names`` that are there."""
        ...

    def upload(self, name: str, path: Path) -> None:
        """Put a copy of ``path`` there; ``name`` appears whole or not at all, in place of what it was."""
        ...

    def download(self, name: str, path: Path) -> None:
        """Write ``name`` to the new file ``path``; raises NotFound."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names of the files below ``folder``."""
        ...

    def remove(self, name: str) -> None:
        """Take ``name`` away, if it is there."""
        ...


class FolderRemote:
    """A remote that is a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, names: Collection[str]) -> set[str]:
        return {name for name in names if (self.root / name).exists()}

    def upload(self, name: str, path: Path) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            _copy(path, temporary)
            durable.sync([temporary])
            temporary.replace(target)
            durable.sync([target.parent])
        finally:
            temporary.unlink(missing_ok=True)

    def download(self, name: str, path: Path) -> None:
        try:
            _copy(self.root / name, path)
        except FileNotFoundError as error:
            raise NotFound(f"{name} is not in the remote {self.root}") from error

    def names(self, folder: str) -> list[str]:
        return [
            os.path.relpath(f"{parent}/{name}", self.root)
            for parent, _, files in os.walk(self.root / folder)
            for name in files
        ]

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)


class UrlRemote(FsspecRemote):
    """A remote behind an fsspec URL such as ``s3://bucket/prefix``; what appears there appears whole.

    Each method raises Unavailable when the remote does not answer, or refuses the credentials.
    """

    def has(self, names: Collection[str]) -> set[str]:
        with self._translated("look into it"):
            return {name for name in names if self._fs.exists(f"{self._root}/{name}")}

    def upload(self, name: str, path: Path) -> None:
        with self._translated(f"put {name}"):
            self._fs.put_file(str(path), f"{self._root}/{name}")

    def download(self, name: str, path: Path) -> None:
        with self._translated(f"get {name}", str(path.parent)):
            try:
                self._fs.get_file(f"{self._root}/{name}", str(path))
            except FileNotFoundError as error:
                raise NotFound(f"{name} is not in the remote {self.address}") from error

    def names(self, folder: str) -> list[str]:
        with self._translated("list it"):
            return [found.removeprefix(f"{self._root}/") for found in self._fs.find(f"{self._root}/{folder}")]

    def remove(self, name: str) -> None:
        with self._translated(f"remove {name}"), suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")


def open_remote(address: str, options: Mapping[str, Any] | None = None) -> Remote:
    """The remote at ``address``. Nothing is asked of it yet.

    Args:
        options: for a URL, fsspec's storage options, among them the credentials; by default the environment's.

    Raises:
        InvalidInput: none is configured, it is of a kind that is not known here, or the address has credentials in it.
    """
    if not address:
        raise InvalidInput("no remote is configured: LEARNLOOP_REMOTE must name a folder or an fsspec URL")
    if "://" not in address:
        return FolderRemote(Path(address))
    refuse_credentials(address)
    return UrlRemote(address, options)


def object_name(name: str) -> str:
    """Where a remote has the object ``name``: as the store has it, so that DVC finds it there."""
    return f"files/md5/{name[:2]}/{name[2:]}"


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as write:
        copies.copy(read, write)
