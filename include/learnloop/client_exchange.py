"""What the client does with other tools' files. Part of ``learnloop.client``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.client_data import Json, Progress, part


class WholeFile:
    """A file that is written beside its place, and takes it when it is kept; its size is what `keep` returns."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        self._file = self._temporary.open("wb")

    def add(self, chunk: bytes) -> None:
        """Write on."""
        self._file.write(chunk)

    def keep(self) -> int:
        """Put the file in its place, synced; returns its bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self._target)
        return self._file.tell()

    def drop(self) -> None:
        """End it. What was not kept is gone."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class ExchangeMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        def _download(self, path: str, params: Json) -> Iterator[bytes]: ...
        def _stream(
            self,
            path: str,
            body: Json | bytes,
            progress: Progress | None,
            method: str = "POST",
            params: Json | None = None,
        ) -> Json: ...

    def import_tasks(
        self,
        dataset: str,
        path: str,
        batch: str,
        *,
        format: str | None = None,
        ignore_annotations: bool = False,
        progress: Progress | None = None,
    ) -> Json:
        """Make annotation tasks of a file on the server's machine: ``label-studio``, ``csv`` or ``parquet``, by default
        what its name ends with. All of it or nothing; again changes nothing. Returns how many rows became what.

        Raises:
            InvalidInput: with a list of what is wrong in which row.
        """
        body = {"path": path, "batch": batch, "format": format, "ignore_annotations": ignore_annotations}
        return self._stream(f"/datasets/{part(dataset)}/tasks/import", body, progress)

    def upload_tasks(
        self,
        dataset: str,
        content: bytes,
        batch: str,
        *,
        format: str,
        ignore_annotations: bool = False,
        filename: str | None = None,
        progress: Progress | None = None,
    ) -> Json:
        """`import_tasks` of a file's content: ``label-studio``, ``csv`` or ``parquet``.

        Args:
            filename: what errors call the file.

        Raises:
            BodyTooLarge: the server takes no file of that size; it can still read it where it is.
        """
        params = {"batch": batch, "format": format, "ignore_annotations": ignore_annotations}
        if filename is not None:
            params["filename"] = filename
        return self._stream(f"/datasets/{part(dataset)}/tasks/upload", content, progress, params=params)

    def export_annotations(
        self, dataset: str, target: Path, *, format: str = "label-studio", superseded: bool = False
    ) -> int:
        """Write the confirmed labels to a file here, whole or not at all; returns its size in bytes.

        Args:
            format: ``label-studio``, ``label-studio-config``, ``csv`` or ``parquet``.
        """
        file = WholeFile(target)
        try:
            for chunk in self._download(
                f"/datasets/{part(dataset)}/annotations/export", {"format": format, "superseded": superseded}
            ):
                file.add(chunk)
            return file.keep()
        finally:
            file.drop()
