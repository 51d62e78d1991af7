"""What annotators of a dataset are told: instructions in Markdown, and a colour and a key for each class.

It is edited in place, unlike the dataset: a better sentence must not make a new version of the data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from learnloop.database import AnnotationGuide, Dataset
from learnloop.errors import InvalidInput

RESERVED_KEYS = "CDNRS"
"""Keys that the page has given away: D, N and S skip, C and R are Streamlit's own."""
MOST_WORDS = 20_000

_COLOR = re.compile(r"#[0-9a-f]{6}")
_KEY = re.compile(r"[0-9A-Z]")


@dataclass(frozen=True)
class ClassStyle:
    """How a class is shown: ``color`` is ``#rrggbb``, ``key`` a letter or digit; None: the page chooses."""

    label: str
    color: str | None = None
    key: str | None = None


def guide_of(session: Session, dataset: Dataset) -> dict[str, Any]:
    """Instructions, and the style of each of the dataset's classes, in their order. Empty until somebody writes one.

    Of classes that were removed from the dataset nothing is told.
    """
    row = session.get(AnnotationGuide, dataset.id, populate_existing=True)
    styles = {} if row is None else row.classes
    return {
        "instructions": "" if row is None else row.instructions,
        "classes": [{"label": name, **_style(styles.get(name, {}))} for name in dataset.loop.get("classes") or ()],
        "updated_by": None if row is None else row.owner,
        "updated_at": None if row is None else row.updated_at,
    }


def write_guide(
    session: Session, dataset: Dataset, *, instructions: str, classes: Sequence[ClassStyle], by: str
) -> None:
    """Replace the guide. What is not said of a class, the page chooses.

    Raises:
        InvalidInput: a class that the dataset has not, no colour, no key, a key that is taken or given to two classes, a
            class that is named twice.
    """
    problems = _faults(dataset.loop.get("classes") or (), classes)
    if len(instructions) > MOST_WORDS:
        problems.append(f"instructions: {len(instructions)} characters, at most {MOST_WORDS}")
    if problems:
        raise InvalidInput("the guide is not valid; nothing was changed", problems)
    kept = {style.label: {"color": style.color, "key": style.key} for style in classes}
    row = session.get(AnnotationGuide, dataset.id, with_for_update=True)
    if row is None:
        session.add(AnnotationGuide(dataset_id=dataset.id, instructions=instructions, classes=kept, owner=by))
    else:
        row.instructions, row.classes, row.owner, row.updated_at = instructions, kept, by, func.now()
    session.flush()


def _faults(known: Sequence[str], classes: Sequence[ClassStyle]) -> list[str]:
    faults = []
    taken: dict[str, str] = {}
    named: set[str] = set()
    for style in classes:
        name = style.label
        if name in named:
            faults.append(f"classes: {name!r} is there twice")
        named.add(name)
        if name not in known:
            faults.append(f"classes: {name!r} is not a class of the dataset; its classes are {', '.join(known)}")
        if style.color is not None and not _COLOR.fullmatch(style.color):
            faults.append(f"classes.{name}.color: {style.color!r} is no colour such as #1f77b4")
        if style.key is None:
            continue
        if not _KEY.fullmatch(style.key):
            faults.append(f"classes.{name}.key: {style.key!r} must be one digit or capital letter")
        elif style.key in RESERVED_KEYS:
            faults.append(f"classes.{name}.key: {style.key} is taken by the page; {', '.join(RESERVED_KEYS)} are")
        elif style.key in taken:
            faults.append(f"classes.{name}.key: {style.key} is {taken[style.key]}'s already")
        taken.setdefault(style.key, name)
    return faults


def _style(kept: Mapping[str, Any]) -> dict[str, str | None]:
    return {"color": kept.get("color"), "key": kept.get("key")}
