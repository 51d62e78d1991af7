"""How a dataset's loop and its people stand: what the progress view shows. Pure of Streamlit; nothing here raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from learnloop.client import LearnloopClient, ProgressInfo
from learnloop.errors import LearnloopError, NotAuthenticated

Result = TypeVar("Result")

DAYS = 14
"""Throughput is shown of so many days."""
REJECTED = 20
"""So many of one's own rejected answers are listed."""


@dataclass
class Standing:
    client: LearnloopClient
    dataset: str
    permissions: frozenset[str]
    progress: ProgressInfo | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """Those that trained, the oldest first."""
    balance: list[dict[str, Any]] = field(default_factory=list)
    people: list[dict[str, Any]] = field(default_factory=list)
    """Figures of everybody for a reviewer, else of the person; with ``days``."""
    rejected: list[dict[str, Any]] = field(default_factory=list)
    """The person's own answers that were rejected, the newest first."""
    agreement: dict[str, Any] | None = None
    reliability: dict[str, Any] | None = None
    """How each annotator confuses classes, by the last quality check. A reviewer's only: gold answers are in it."""
    error: LearnloopError | None = None
    """Why the figures are those of before, or none."""
    signed_out: bool = False

    @property
    def everybody(self) -> bool:
        return "annotation:review" in self.permissions

    def look(self) -> None:
        """Read all figures anew; what cannot be read stays as it was."""
        self.error = None
        self.progress = self._try(lambda: self.client.progress(self.dataset)) or self.progress
        if self.error is not None:
            return  # the rest would fail the same way, and each would be waited for
        rounds = self._try(lambda: self.client.rounds(self.dataset))
        if rounds is not None:
            self.rounds = [row for row in rounds[::-1] if accuracy(row) is not None]
        balance = self._try(lambda: self.client.balance(self.dataset))
        self.balance = self.balance if balance is None else balance
        people = self._try(self._people)
        self.people = self.people if people is None else people
        if "annotation:claim" in self.permissions:
            rejected = self._try(lambda: self.client.my_answers(self.dataset, outcome="rejected", limit=REJECTED))
            self.rejected = self.rejected if rejected is None else rejected

    def _people(self) -> list[dict[str, Any]]:
        if self.everybody:
            found = self.client.quality(self.dataset)
            people, days = found["people"], self.client.throughput(self.dataset, days=DAYS)
            self.agreement, check = found["agreement"], found["check"]
            self.reliability = None if check is None else check["reliability"]
        elif "annotation:claim" in self.permissions:
            people = [self.client.my_quality(self.dataset)]
            days = self.client.my_throughput(self.dataset, days=DAYS)
        else:
            return []
        return [
            {**person, "days": [day for day in days if day["annotator"] == person["annotator"]]} for person in people
        ]

    def _try(self, call: Callable[[], Result]) -> Result | None:
        try:
            return call()
        except LearnloopError as error:
            self.error = error
            self.signed_out = isinstance(error, NotAuthenticated)
            return None


def accuracy(row: Mapping[str, Any]) -> float | None:
    """On the test split, of the model that a round trained; None when it trained none."""
    measured = row["metrics"].get("comparison", {}).get("candidate", {}).get("accuracy")
    return None if row["labels"] is None or measured is None else float(measured)
