"""Pieces of work that take turns by name. A turn ends with its transaction, and so with its process, however that ends."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session


def take_turn(session: Session, name: str) -> None:
    """Wait until nobody else has the turn called ``name``, and have it until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def take_turn_if_free(session: Session, name: str) -> bool:
    """As ``take_turn``, but without waiting: False when somebody else has it."""
    return bool(
        session.execute(
            text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
        ).scalar_one()
    )
