"""What a file says of one sample, whatever its format, and the list of what is wrong with a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learnloop.errors import InvalidInput

MOST_ROWS = 200_000
MOST_BYTES = 256 * 2**20
MOST_PROBLEMS = 100
"""So many are listed; that there are more is said."""
PRIORITIES = range(-1000, 100)
"""Second opinions come with 100, before all that a file may ask for."""
NO_MODEL = 0
"""The model version of a prediction that no model of ours made."""


@dataclass(frozen=True)
class Guess:
    """A model's prediction: one probability a class, which sum to 1. ``model`` is its name where it is not one of ours."""

    probabilities: Mapping[str, float]
    model_version: int = NO_MODEL
    model: str | None = None


@dataclass(frozen=True)
class Incoming:
    """One row. ``where`` names it to people (``row 3``); a sample is named by its id, its path in the batch, or both;
    a text perhaps by all its words (``text``), which may turn out to be its ``path`` just as well.
    """

    where: str
    sample_id: str | None
    path: str | None
    guess: Guess | None = None
    priority: int = 0
    text: str | None = None


@dataclass
class Problems:
    """Collects what is wrong, each with its row and field and what would be right."""

    found: list[str] = field(default_factory=list)
    more: int = 0

    def add(self, where: str, name: str, fault: str) -> None:
        if len(self.found) < MOST_PROBLEMS:
            self.found.append(f"{where}, {name}: {fault}")
        else:
            self.more += 1

    def raise_if_any(self, file: str) -> None:
        if self.found:
            more = [f"and {self.more} more"] if self.more else []
            raise InvalidInput(f"{file} cannot be imported; nothing was changed:", [*self.found, *more])


def check_size(path: Path) -> None:
    """Raise InvalidInput if ``path`` is no file, or too large to be read whole."""
    if not path.is_file():
        raise InvalidInput(f"{path} is not a file: give the file that was exported")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise InvalidInput(f"{path.name} has {size} bytes; at most {MOST_BYTES} are imported at once: split it")


def check_rows(path: Path, count: int) -> None:
    if count > MOST_ROWS:
        raise InvalidInput(f"{path.name} has {count} rows; at most {MOST_ROWS} are imported at once: split it")


def guess_of(
    where: str,
    name: str,
    problems: Problems,
    classes: Sequence[str],
    *,
    label: str | None,
    score: Any,
    probabilities: Mapping[str, Any] | None,
    model: Any,
) -> Guess | None:
    """A prediction from what a file says; None when it says nothing, or something wrong (then ``problems`` has it).

    Where only the label's score is known, the rest is spread evenly over the other classes, for nothing says more of them.

    Args:
        name: the field that problems name.
        probabilities: class -> probability; a class that is not in it has 0.
        model: the model's version: a number is taken as a version of the dataset's own model.
    """
    if label is None and not probabilities:
        if score not in (None, ""):
            problems.add(where, name, f"a score ({score!r}) without a label; name the class that it is of")
        return None
    for one in (*([] if label is None else [label]), *(probabilities or ())):
        if one not in classes:
            problems.add(where, name, f"{one!r} is not a class; the classes are {', '.join(classes)}")
            return None
    if probabilities:
        values = {one: _probability(probabilities.get(one, 0.0)) for one in classes}
        total = sum(value for value in values.values() if value is not None)
        if None in values.values() or not math.isclose(total, 1, abs_tol=0.01):
            problems.add(where, name, f"probabilities must be numbers from 0 to 1 that sum to 1, not {total:.3g}")
            return None
        known = {one: (value or 0.0) / total for one, value in values.items()}
        if label is not None and known[label] < max(known.values()):
            problems.add(where, name, f"{label!r} is not the likeliest class of its own probabilities")
            return None
    else:
        own = _probability(score)
        if own is None:
            problems.add(where, name, f"the score of {label!r} must be a number from 0 to 1, not {score!r}")
            return None
        rest = (1 - own) / max(1, len(classes) - 1)
        known = {one: own if one == label else rest for one in classes}
        if own < rest:
            problems.add(where, name, f"a score of {own} makes {label!r} less likely than the others; leave it out")
            return None
    text = "" if model is None else str(model).strip()
    if text.isdecimal() and len(text) < 10:
        return Guess(known, int(text))
    return Guess(known, NO_MODEL, text[:200] or None)


def _probability(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if not isinstance(value, bool) and 0 <= number <= 1 else None


def priority_of(where: str, name: str, problems: Problems, value: Any) -> int:
    """A whole number of ``PRIORITIES``; 0 where nothing is given."""
    if value in (None, ""):
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not number.is_integer() or int(number) not in PRIORITIES or isinstance(value, bool):
        least, most = PRIORITIES[0], PRIORITIES[-1]
        problems.add(where, name, f"must be a whole number from {least} to {most}, not {value!r}")
        return 0
    return int(number)


def text_of(where: str, name: str, problems: Problems, value: Any) -> str | None:
    """Text, or None where nothing is given."""
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        problems.add(where, name, f"must be text, not {value!r}")
        return None
    return value
