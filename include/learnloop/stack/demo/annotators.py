"""Scripted annotators. They answer through the same HTTP API as the page does."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from learnloop.client import LearnloopClient


@dataclass
class ScriptedAnnotator:
    """Answers from the truth, but wrongly with probability ``error_rate`` (a fixed sequence for a seed)."""

    client: LearnloopClient
    truth: dict[str, str]
    classes: list[str]
    error_rate: float
    seed: int
    answered: int = 0
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - a scripted error, not a secret

    def work(self, dataset: str) -> int:
        """Answer until there is nothing left for this annotator; returns how many were answered."""
        before = self.answered
        while (task := self.client.claim(dataset)) is not None:
            right = self.truth[task.sample_id]
            label = right
            if self._random.random() < self.error_rate:
                label = self._random.choice([other for other in self.classes if other != right])
                self.wrong.append(task.sample_id)
            self.client.submit(task.id, label, seconds=1.0)
            self.answered += 1
        return self.answered - before
