"""Annotation tasks in from, and confirmed labels out to, Label Studio, CSV and Parquet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated, Any, Literal

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
from learnloop_airflow.api.fields import Body, line
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


class NewTasks(Body):
    path: Annotated[str, line(least=1, most=4000)]
    batch: Annotated[str, line(least=1, most=200)]
    format: Literal["label-studio", "csv", "parquet"] | None = None
    ignore_annotations: bool = False


class TasksImported(BaseModel):
    """``left``: rows of samples that somebody works on, or that have a label already."""

    rows: int
    created: int
    updated: int
    unchanged: int
    left: int


@routes.add("POST", "/datasets/{name}/tasks/import", "annotation:import", result=TasksImported)
def import_tasks(name: str, wanted: NewTasks, caller: Caller) -> Lines:
    """Make tasks of a file that the server can read; progress as lines of JSON. All or nothing; again changes nothing."""
    from learnloop.annotation.exchange import importing  # numpy: not at the server's start

    configured = settings()
    path = allowed_folder(wanted.path, **configured.whose(caller.name))

    def work(progress: Progress) -> dict[str, Any]:
        with session() as db:
            dataset = get_dataset(db, name)
            done = importing.import_tasks(
                db,
                Store(configured.store),
                dataset,
                get_batch(db, dataset, wanted.batch),
                Path(path),
                form=wanted.format,
                owner=caller.name,
                ignore_annotations=wanted.ignore_annotations,
                progress=progress,
            )
            return asdict(done)

    return stream(work)


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
            exporting.export(db, get_dataset(db, name), format, file, superseded=superseded)
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
