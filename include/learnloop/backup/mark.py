"""The mark in a state directory that a restore into it has not ended."""

from __future__ import annotations

import json
from pathlib import Path

MARK = "restoring.json"


def unfinished(home: Path) -> str:
    """The backup whose restore into this state directory has not ended; empty for none."""
    try:
        return str(json.loads((home / MARK).read_text())["backup"])
    except FileNotFoundError:
        return ""
