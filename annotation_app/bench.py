"""A reviewer's bench: what waits for a decision, the one that is looked at, and what came of the last.

Pure of Streamlit, like ``desk``; nothing here raises.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from learnloop.client import LearnloopClient
from learnloop.errors import Conflict, LearnloopError, NotAuthenticated, NotFound, Unavailable

SHOWN = 50
"""So many reviews are read at once; when they are decided, the next are."""


@dataclass
class Bench:
    client: LearnloopClient
    user: str
    dataset: str
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """What waits for a decision, the oldest first."""
    review: dict[str, Any] | None = None
    """The one that is looked at, with everything that people said."""
    content: bytes | None = None
    drawn: int | None = None
    """The review that the page showed last: only that can be decided, as with a `Desk`."""
    error: LearnloopError | None = None
    last: dict[str, Any] | None = None
    """The review that was decided last."""
    signed_out: LearnloopError | None = None
    offline: bool = False
    """``error`` is that the API did not answer: it is over once it does."""
    passed: set[int] = field(default_factory=set)
    """What was put off: it comes again when nothing else is left."""

    def look(self) -> None:
        """Read what waits, and take up the first of it that was not put off, unless one is looked at."""
        try:
            self.waiting = self.client.reviews(self.dataset, limit=SHOWN)[::-1]
            if self.review is None and self.waiting:
                self._take_up()
        except LearnloopError as error:
            self._note(error)
        else:
            if self.offline:
                self.offline, self.error = False, None

    def put_off(self) -> None:
        if self.review is not None:
            self.passed.add(self.review["id"])
            self._put_down()
            self.look()

    def decide(self, review_id: int, decision: str, label: str | None, reason: str) -> None:
        """Decide the review that is looked at, and take up the next. A second press does nothing, nor does one for
        what was not ``drawn``.
        """
        if self.review is None or not self.review["id"] == review_id == self.drawn:
            return
        try:
            key = uuid.uuid4().hex
            self.last = self.client.decide(review_id, decision, label=label, reason=reason, key=key)
        except LearnloopError as error:
            self._note(error)
            self._read_again(review_id)
            return
        self._put_down()
        self.look()

    def _read_again(self, review_id: int) -> None:
        """After a refusal: somebody else may have decided it meanwhile. What was said of it stays on the page."""
        try:
            if self.client.review(review_id)["decision"] is not None:
                said = self.error
                self._put_down()
                self.look()
                self.error = said
        except LearnloopError as error:
            self._note(error)

    def _take_up(self) -> None:
        fresh = [row for row in self.waiting if row["id"] not in self.passed]
        if not fresh:
            self.passed.clear()
        self.review = self.client.review((fresh or self.waiting)[0]["id"])
        try:
            self.content = self.client.content(self.review["task_id"])
        except (NotFound, Conflict) as error:  # the sample's bytes are gone or damaged: it can be decided all the same
            self.error = error

    def _put_down(self) -> None:
        self.review = self.content = self.error = self.drawn = None

    def _note(self, error: LearnloopError) -> None:
        self.error, self.offline = error, isinstance(error, Unavailable)
        if isinstance(error, NotAuthenticated):
            self.signed_out = error
