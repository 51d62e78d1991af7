"""Rows of the confirmed pool that tests put in as they like, past `learnloop.annotation.pool.put`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from learnloop.database import ConfirmedAnnotation


def next_number(dataset_id: int) -> Any:
    """The number of the next row: an expression for its insert."""
    highest = select(func.max(ConfirmedAnnotation.number)).where(ConfirmedAnnotation.dataset_id == dataset_id)
    return func.coalesce(highest.scalar_subquery(), 0) + 1
