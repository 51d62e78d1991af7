"""What the addresses of views may say."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

_TEXT = r"^[^\x00]*$"

Name = Annotated[str | None, Query(min_length=1, max_length=400, pattern=_TEXT)]
Id = Annotated[str, Query(min_length=1, max_length=250, pattern=_TEXT)]
Number = Annotated[int | None, Query(ge=1, lt=2**31)]
