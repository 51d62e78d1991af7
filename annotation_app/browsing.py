"""The queue as a list on the page: what is asked for, what was found, what went wrong.

Pure of Streamlit, like ``desk``; nothing here raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from learnloop.client import LearnloopClient
from learnloop.errors import LearnloopError, NotAuthenticated

STEP = 20
"""So many tasks more are shown at a time."""
AGES: dict[str, tuple[timedelta | None, timedelta | None]] = {
    "any": (None, None),
    "hour": (timedelta(hours=1), None),
    "day": (timedelta(days=1), None),
    "week": (timedelta(days=7), None),
    "older": (None, timedelta(days=7)),
}
"""The youngest and the oldest of each choice of age: since, until, before now."""


@dataclass
class Browsing:
    client: LearnloopClient
    dataset: str
    classes: list[str] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)
    more: bool = False
    """There are more than were found."""
    error: LearnloopError | None = None
    signed_out: LearnloopError | None = None
    shown: int = STEP
    _asked: tuple[Any, ...] = ()

    def look(
        self,
        state: str = "open",
        *,
        label: str | None = None,
        batch: str | None = None,
        age: str = "any",
        confidence: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Read the list anew. Other filters begin at its start again."""
        asked = (state, label, batch, age, confidence)
        if asked != self._asked:
            self._asked, self.shown = asked, STEP
        wanted: dict[str, Any] = {"state": state, "label": label, "least": confidence[0], "most": confidence[1]}
        if state != "skipped":
            since, until = AGES[age]
            now = datetime.now(UTC)
            wanted["batch"] = batch
            wanted["since"] = None if since is None else (now - since).isoformat()
            wanted["until"] = None if until is None else (now - until).isoformat()
        try:
            if not self.classes:
                self.classes = self.client.dataset(self.dataset).classes
            self.batches = [row["name"] for row in self.client.batches(self.dataset)]
            found = self.client.tasks(self.dataset, limit=self.shown + 1, **wanted)
        except LearnloopError as error:
            self.error, self.found, self.more = error, [], False
            if isinstance(error, NotAuthenticated):
                self.signed_out = error
        else:
            self.error, self.found, self.more = None, found[: self.shown], len(found) > self.shown

    def show_more(self) -> None:
        self.shown += STEP
