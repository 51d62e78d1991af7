"""Rows of a table: each sample's file is a JSON object, column name to value."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from learnloop.datasets.recipes.base import Recipe
from learnloop.datasets.tables import some
from learnloop.errors import InvalidDataset

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class RowRecipe(Recipe):
    """Numbers as they are, categories one number a value (0 or 1); an optional column has one more: whether it is missing.

    Args:
        columns: name and, for a category, its values.
        optional: the columns that may be missing or null.
    """

    columns: tuple[tuple[str, tuple[str, ...] | None], ...]
    optional: frozenset[str]

    @property
    def size(self) -> int:
        return sum(1 if values is None else len(values) for _, values in self.columns) + len(self.optional)

    def parameters(self) -> dict[str, Any]:
        return {"version": 1, "features": "row", "columns": self.columns, "optional": sorted(self.optional)}

    def row(self, data: bytes, where: str) -> NDArray[np.float32]:
        given = row_of(data, where)
        numbers: list[float] = []
        known = [name for name, _ in self.columns]
        problems = [f"column {name!r} is not one of {some(known)}" for name in given if name not in known]
        missing = [name for name in known if given.get(name) is None and name not in self.optional]
        if missing:
            problems.append(f"missing: {some(missing)} (list under optional what may be)")
        for name, values in self.columns:
            value = given.get(name)
            width = 1 if values is None else len(values)
            if name in self.optional:
                numbers.append(float(value is None))
            if value is None:
                numbers += [0.0] * width
            elif values is None:
                if isinstance(value, bool) or not isinstance(value, int | float) or not _fits(value):
                    problems.append(f"column {name!r} must be a finite number, not {value!r}"[:200])
                    continue
                numbers.append(float(value))
            elif not isinstance(value, str) or value not in values:
                problems.append(f"column {name!r} is {value!r}, not one of {some(values)}"[:300])
            else:
                numbers += [float(value == one) for one in values]
        if problems:
            raise InvalidDataset(f"{where} does not fit the columns of dataset.yaml: {'; '.join(problems)}")
        return np.asarray(numbers, dtype=np.float32)


def row_of(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in ``data``.

    Raises:
        InvalidDataset: it is no JSON object, names a column twice, or holds NaN or infinity.
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) != len(dict(pairs)):
            raise ValueError("a column is there twice")
        return dict(pairs)

    try:
        content = json.loads(data, parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise InvalidDataset(f"{where} is not a JSON object of columns: {error}") from error
    if not isinstance(content, dict):
        raise InvalidDataset(f'{where} must hold a JSON object such as {{"height": 1.5, "colour": "red"}}')
    return content


def _fits(value: float) -> bool:
    try:
        return math.isfinite(value) and abs(value) <= LARGEST
    except OverflowError:  # a whole number beyond float64
        return False
