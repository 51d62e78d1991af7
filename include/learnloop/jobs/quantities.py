"""Amounts of memory and storage in Kubernetes' notation: ``512Mi``, ``2Gi``, or bytes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}(Ki|Mi|Gi|Ti)?$")]


def bytes_of(quantity: str) -> int:
    """``"512Mi"`` as bytes.

    Raises:
        ValueError: it is neither a whole number nor one with Ki, Mi, Gi or Ti.
    """
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return int(quantity.removesuffix(unit)) * factor
    return int(quantity)


def quantity_of(amount: int) -> str:
    """``amount`` bytes in the largest unit that keeps it whole."""
    for unit, factor in reversed(UNITS.items()):
        if amount and amount % factor == 0:
            return f"{amount // factor}{unit}"
    return str(amount)
