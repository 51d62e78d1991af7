"""Which key answers which class. Pure; the page hands the keys to ``st.button(shortcut=...)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SKIP_KEYS = {"cannot_tell": "S", "damaged": "D", "none_of_these": "N"}
"""The key of each reason to skip, by the reason's name in ``texts``."""

CONTINUE_KEY = "Enter"
AGREE_KEY = "Enter"
UNDO_KEY = "Backspace"

_RESERVED = {"C", "R", *SKIP_KEYS.values()}  # C and R are Streamlit's own
_POSITIONS = [key for key in "1234567890ABCDEFGHIJKLMNOPQRSTUVWXYZ" if key not in _RESERVED]


def keys_of(classes: Sequence[str], chosen: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """One key a class: the chosen one, or its own name when that is a letter or digit, else the first free of 1, 2, ... 0,
    A, B, ...

    None when the keys have run out; such a class is found by typing of its name (`annotation_app.type_ahead`).
    """
    keys: dict[str, str | None] = {}
    taken: set[str] = set()
    for name, key in (chosen or {}).items():
        if name in classes and key in _POSITIONS and key not in taken:
            keys[name] = key
            taken.add(key)
    for name in classes:
        own = name.upper()
        if name not in keys and own in _POSITIONS and own not in taken:
            keys[name] = own
            taken.add(own)
    free = (key for key in _POSITIONS if key not in taken)
    return {name: keys.get(name) or next(free, None) for name in classes}
