"""``keep_alive``: a number of seconds, or a text such as ``5m``; a negative one means for ever."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from learnloop.serving.bodies import WrongRequest

DEFAULT = timedelta(minutes=5)
FOREVER = timedelta(days=36_500)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def keep_alive(value: Any) -> timedelta:
    """How long that is; ``None`` is 5 minutes, and nothing is longer than a hundred years.

    Raises:
        WrongRequest: it is no duration.
    """
    if value is None:
        return DEFAULT
    seconds = _seconds(value)
    if seconds is None:
        raise WrongRequest(
            f"keep_alive is {str(value)[:50]!r}; it must be seconds (300), a duration (5m, 1h30m), or -1 for ever"
        )
    return FOREVER if seconds < 0 else min(timedelta(seconds=min(seconds, 1e10)), FOREVER)


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if value == value else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    sign = -1.0 if text.startswith("-") else 1.0
    text = text.lstrip("-")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return sign * float(text)
    if not text or _PART.sub("", text):
        return None
    return sign * sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
