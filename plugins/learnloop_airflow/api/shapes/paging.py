"""Pages of lists."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """``next`` is the cursor of the following page, or null."""

    items: list[Item]
    next: str | None
