"""Annotation tasks in from, and confirmed labels out to, Label Studio, CSV and Parquet."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from learnloop.annotation.exchange import exporting
from learnloop.database import session
from learnloop.datasets.allowed import allowed_folder
from learnloop.datasets.batch import get_batch
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_dataset
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.bodies import UPLOADS, read_file
from learnloop_airflow.api.fields import LINE, Body, FileName, line
from learnloop_airflow.api.routing import Lines, Routes
from learnloop_airflow.api.streaming import Progress, stream

routes = Routes()

TYPES: dict[exporting.Format, tuple[str, str]] = {
    "label-studio": ("application/json", "json"),
    "label-studio-config": ("application/xml", "xml"),
    "csv": ("text/csv; charset=utf-8", "csv"),
    "parquet": ("application/vnd.apache.parquet", "parquet"),
}
CHUNK = 2**16
ImportFormat = Literal["label-studio", "csv", "parquet"]


class NewTasks(Body):
    path: Annotated[str, line(least=1, most=4000)]
    batch: Annotated[str, line(least=1, most=200)]
    format: ImportFormat | None = None
    ignore_annotations: bool = False


class TasksImported(BaseModel):
    """``left``: rows of samples that somebody works on, or that have a label already; ``left_rows``: the first of them."""

    rows: int
    created: int
    updated: int
    unchanged: int
    left: int
    left_rows: list[str]


@routes.add("POST", "/datasets/{name}/tasks/import", "annotation:import", result=TasksImported)
def import_tasks(name: str, wanted: NewTasks, caller: Caller) -> Lines:
    """Make tasks of a file that the server can read; progress as lines of JSON. All or nothing; again changes nothing."""
    path = Path(allowed_folder(wanted.path, **settings().whose(caller.name)))
    return stream(lambda progress: _import(name, path, wanted, caller.name, progress))


@routes.add(
    "POST",
    f"/datasets/{{name}}{UPLOADS}",
    "annotation:import",
    result=TasksImported,
    takes="application/octet-stream",
)
async def upload_tasks(
    name: str,
    request: Request,
    caller: Caller,
    batch: Annotated[str, Query(min_length=1, max_length=200, pattern=LINE)],
    format: ImportFormat,
    ignore_annotations: bool = False,
    filename: FileName | None = None,
) -> Lines:
    """Make tasks of the file that the body is; progress as lines of JSON. All or nothing; again changes nothing.

    What is wrong with the file is told by its ``filename``.
    """
    configured = settings()
    folder = Path(tempfile.mkdtemp(prefix="learnloop-upload-"))
    file = folder / (filename or f"upload.{TYPES[format][1]}")
    wanted = NewTasks(path=str(file), batch=batch, format=format, ignore_annotations=ignore_annotations)
    try:
        await read_file(request, file, most=configured.upload_bytes, seconds=configured.upload_seconds)
    except BaseException:
        shutil.rmtree(folder)
        raise

    def work(progress: Progress) -> dict[str, Any]:
        try:
            return _import(name, file, wanted, caller.name, progress)
        finally:
            shutil.rmtree(folder)

    return stream(work)


def _import(name: str, path: Path, wanted: NewTasks, owner: str, progress: Progress) -> dict[str, Any]:
    from learnloop.annotation.exchange import importing  # numpy: not at the server's start

    with session() as db:
        dataset = get_dataset(db, name)
        done = importing.import_tasks(
            db,
            Store(settings().store),
            dataset,
            get_batch(db, dataset, wanted.batch),
            path,
            form=wanted.format,
            owner=owner,
            ignore_annotations=wanted.ignore_annotations,
            progress=progress,
        )
        return asdict(done)


@routes.add(
    "GET",
    "/datasets/{name}/annotations/export",
    "annotation:export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file",
            "content": {
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
                "application/xml": {},
                "text/csv": {},
                "application/vnd.apache.parquet": {},
            },
        }
    },
)
def export_annotations(
    name: str, format: exporting.Format = "label-studio", superseded: bool = False
) -> StreamingResponse:
    """The confirmed labels with who gave them, when, and by which rule they count; ``superseded``: replaced ones too."""
    # Into a file first: a reader that is slow, or never ends, must not keep a transaction open; and what goes wrong is
    # said before the answer has begun.
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when it has been sent
    try:
        with session() as db:
            store = Store(settings().store)
            exporting.export(db, store, get_dataset(db, name), format, file, superseded=superseded)
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)
    kind, suffix = TYPES[format]
    headers = {
        "Content-Disposition": f'attachment; filename="annotations.{suffix}"',
        "Content-Length": str(size),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(_chunks(file), media_type=kind, headers=headers)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while part := file.read(CHUNK):
            yield part
