"""What annotators of a dataset are told: instructions, colours and keys. Edited in place."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Response
from pydantic import Field
from sqlalchemy.orm import Session

from learnloop.annotation.guide import MOST_WORDS, ClassStyle, guide_of, write_guide
from learnloop.database import reading, session
from learnloop.datasets.versions import get_dataset
from learnloop.loop.rounds import lock
from learnloop_airflow.api import audited
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.etags import IfMatch, etag_of, require
from learnloop_airflow.api.fields import TEXT, Body, line
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.datasets import GuideItem

routes = Routes()


class Style(Body):
    """How a class is shown. Null, or left out: the page chooses."""

    label: Annotated[str, line(least=1, most=200)]
    color: Annotated[str, line(most=50)] | None = None
    key: Annotated[str, line(most=50)] | None = None


class Guide(Body):
    instructions: Annotated[str, Field(max_length=MOST_WORDS, pattern=TEXT)] = ""
    classes: list[Style] = Field(default=[], max_length=10_000)


@routes.add("GET", "/datasets/{name}/guide", "dataset:read", response_model=GuideItem)
def show_guide(name: str, response: Response) -> dict[str, Any]:
    """Instructions in Markdown, and each class's colour and key where somebody chose them."""
    with reading() as db:
        found = guide_of(db, get_dataset(db, name))
    response.headers["ETag"] = etag_of(found)
    return found


@routes.add("PUT", "/datasets/{name}/guide", "dataset:write", response_model=GuideItem, errors=(412,))
def put_guide(name: str, wanted: Guide, caller: Caller, response: Response, if_match: IfMatch = None) -> dict[str, Any]:
    """Replace the guide; with ``If-Match`` only if it is still what you saw."""
    with session() as db:
        _write(db, name, wanted, caller.name, if_match)
        found = guide_of(db, get_dataset(db, name))
        audited.write_with(db, 200)
    response.headers["ETag"] = etag_of(found)
    return found


def _write(db: Session, name: str, wanted: Guide, by: str, if_match: str | None) -> None:
    dataset = get_dataset(db, name)
    lock(db, dataset)  # of two who saw the same, one comes second
    require(if_match, etag_of(guide_of(db, dataset)), f"the guide of {name}")
    styles = [ClassStyle(style.label, style.color, style.key) for style in wanted.classes]
    write_guide(db, dataset, instructions=wanted.instructions, classes=styles, by=by)
