"""What bodies of requests are made of: checked to the letter, and the OpenAPI document says how."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
"""Text that is shown as one line: no control characters, with which it could forge a line of a log."""
TEXT = r"^[^\x00]*$"
"""Any text that PostgreSQL takes."""


class Body(BaseModel):
    """The base of all bodies. A field that is not known is refused: a misspelt ``dry_run`` must not be taken for none."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Goes after the bounds of an ``int``: JSON does not tell 4.0 from 4."""


def line(*, least: int = 0, most: int, **options: Any) -> Any:
    """A field of one line of text."""
    return Field(min_length=least, max_length=most, pattern=LINE, **options)


Message = Annotated[str, line(most=2000)]
"""Why somebody did something."""

FILE_NAME_MOST = 255
"""Bytes on Linux; characters on Windows and macOS."""


def _of_a_file(name: str) -> str:
    if "/" in name or name in (".", ".."):
        raise ValueError("must be a file's name without its folder")
    return name.encode()[-FILE_NAME_MOST:].decode(errors="ignore")


FileName = Annotated[str, line(least=1, most=FILE_NAME_MOST), AfterValidator(_of_a_file)]
"""Of a file on the caller's machine, from its end as much as a file's name here may have; it leads nowhere."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ].+")


def _not_a_number(text: Any) -> Any:
    if isinstance(text, str) and not _TIME.fullmatch(text):
        raise ValueError("must be an ISO time with its zone, such as 2026-05-01T00:00:00Z")
    return text


Moment = Annotated[AwareDatetime | None, BeforeValidator(_not_a_number)]
"""A time in a query."""
