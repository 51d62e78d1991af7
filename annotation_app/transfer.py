"""Labels out to files and tasks in from them, as the projects view does it. Pure of Streamlit; nothing here raises."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from learnloop.client import LearnloopClient
from learnloop.errors import LearnloopError

ENDINGS = {"label-studio": "json", "label-studio-config": "xml", "csv": "csv", "parquet": "parquet"}
"""Of each format that goes out."""
IMPORTED = ("label-studio", "csv", "parquet")


@dataclass
class Transfer:
    client: LearnloopClient
    dataset: str
    made: tuple[str, bytes] | None = None
    """The file that was made last: its format, and what is in it."""
    brought: dict[str, Any] | None = None
    """How many rows of the file that was brought last became what."""
    brought_any: bool = False
    """A file was brought, whether it was taken or not."""
    export_error: LearnloopError | None = None
    import_error: LearnloopError | None = None
    _batches: list[str] | None = None

    @property
    def signed_out(self) -> bool:
        errors = (self.export_error, self.import_error)
        return any(error is not None and error.type == "not-authenticated" for error in errors)

    def batches(self) -> list[str]:
        """The dataset's batches, the newest first; read once, and again where there was none."""
        if not self._batches:
            try:
                self._batches = [batch["name"] for batch in self.client.batches(self.dataset)]
            except LearnloopError as error:
                self.import_error = error
        return self._batches or []

    def make(self, form: str, *, superseded: bool = False) -> None:
        """Have the confirmed labels written."""
        self.made = self.export_error = None
        with tempfile.TemporaryDirectory(prefix="learnloop-page-") as folder:
            file = Path(folder) / "export"
            try:
                self.client.export_annotations(self.dataset, file, format=form, superseded=superseded)
            except LearnloopError as error:
                self.export_error = error
            else:
                self.made = form, file.read_bytes()

    def bring(self, name: str, content: bytes, batch: str, *, ignore_annotations: bool) -> None:
        """Make tasks of a file called ``name``."""
        self.forget_import()
        self.brought_any = True
        try:
            self.brought = self.client.upload_tasks(
                self.dataset,
                content,
                batch,
                format=format_of(name),
                ignore_annotations=ignore_annotations,
                filename=name,
            )
        except LearnloopError as error:
            self.import_error = error

    def forget_import(self) -> None:
        """Say no more of the file that was brought last."""
        self.brought = self.import_error = None


def format_of(name: str) -> str:
    """By what the file's name ends with; Label Studio's where that says nothing, and then the API says what is wrong."""
    ending = PurePath(name).suffix.lower().removeprefix(".")
    return next((form for form in IMPORTED if ENDINGS[form] == ending), IMPORTED[0])
