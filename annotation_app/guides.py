"""A dataset's guide on the page: instructions, colours, keys. Pure of Streamlit; nothing here raises."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from learnloop.client import LearnloopClient
from learnloop.errors import LearnloopError, PreconditionFailed

FRESH_SECONDS = 60.0
COLOR = re.compile(r"#[0-9a-f]{6}")
PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#e69f00", "#009e73", "#882255")
"""What is offered when classes get colours: Paul Tol's bright scheme, and others that differ for who sees few colours."""
# Outside of code, an image would be fetched from wherever it is, by every annotator's browser.
_IMAGE = re.compile(r"!(?=\[)")


@dataclass
class Guide:
    client: LearnloopClient
    dataset: str
    clock: Callable[[], float] = time.monotonic
    found: dict[str, Any] | None = None
    """As it was when it could be read last, with its ``etag``."""
    error: LearnloopError | None = None
    changed_meanwhile: bool = False
    """Somebody else has written it since it was read here."""
    _read_at: float = field(default=-1e9)

    def look(self, *, anew: bool = False) -> bool:
        """Read it if it is not known, or not fresh. True when it is another than before."""
        if self.found is not None and not anew and self.clock() - self._read_at < FRESH_SECONDS:
            return False
        self._read_at = self.clock()
        before = None if self.found is None else self.found["etag"]
        try:
            self.found = self.client.guide(self.dataset)
        except LearnloopError as error:
            self.error = error
            return False
        self.error = None
        self.changed_meanwhile = self.changed_meanwhile and not anew
        return bool(self.found["etag"] != before)

    def write(self, instructions: str, classes: Mapping[str, Mapping[str, str | None]], seen: str | None) -> bool:
        """Replace what was ``seen``, by its ETag; None: whatever there is. False, with the error, when it is refused."""
        try:
            self.client.write_guide(self.dataset, instructions=instructions, classes=classes, if_match=seen)
        except LearnloopError as error:
            self.error, self.changed_meanwhile = error, isinstance(error, PreconditionFailed)
            return False
        self.look(anew=True)
        return True

    @property
    def instructions(self) -> str:
        return "" if self.found is None else self.found["instructions"].strip()

    @property
    def colors(self) -> dict[str, str]:
        """Only what is a colour: it goes into a style sheet."""
        classes = [] if self.found is None else self.found["classes"]
        return {each["label"]: each["color"] for each in classes if COLOR.fullmatch(each["color"] or "")}

    @property
    def keys(self) -> dict[str, str]:
        classes = [] if self.found is None else self.found["classes"]
        return {each["label"]: each["key"] for each in classes if each["key"]}


def safe(instructions: str) -> str:
    """Instructions as Streamlit may render them: it shows HTML as text; images become links that nobody must follow."""
    return _IMAGE.sub("", instructions)
