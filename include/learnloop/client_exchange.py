"""What the client does with other tools' files. Part of ``learnloop.client``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.client_data import Json, Progress, part

if TYPE_CHECKING:
    import httpx


class ExchangeMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:
        _download: Callable[..., AbstractContextManager[httpx.Response]]

        def _stream(self, path: str, body: Json, progress: Progress | None) -> Json: ...

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
        what its name ends with. All of it or nothing; again changes nothing.

        Raises:
            InvalidInput: with a list of what is wrong in which row.
        """
        body = {"path": path, "batch": batch, "format": format, "ignore_annotations": ignore_annotations}
        return self._stream(f"/datasets/{part(dataset)}/tasks/import", body, progress)

    def export_annotations(
        self, dataset: str, target: Path, *, format: str = "label-studio", superseded: bool = False
    ) -> int:
        """Write the confirmed labels to a file here, whole or not at all; returns its size in bytes.

        Args:
            format: ``label-studio``, ``label-studio-config``, ``csv`` or ``parquet``.
        """
        wanted = {"format": format, "superseded": superseded}
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with (
                self._download(f"/datasets/{part(dataset)}/annotations/export", wanted) as answer,
                temporary.open("wb") as file,
            ):
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return target.stat().st_size
