"""A dataset as claims and answers need it: which one, and by what rules. The statement that locks it reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Row

from learnloop.datasets.schema import QualityConfig, loop_config

COLUMNS = "datasets.id, datasets.name, datasets.task_type, datasets.loop::text AS loop"
"""What a statement selects, first of all, for :meth:`Configured.of`."""
NAMES = "id, name, task_type, loop"
"""As its result calls them."""


class _Rules:
    """What ``Dataset.loop`` says."""

    def __init__(self, stored: str) -> None:
        self.loop: dict[str, Any] = json.loads(stored)

    @cached_property
    def quality(self) -> QualityConfig:
        return loop_config(self.loop).quality


# By what the row says, word for word: so it is never stale. Checking the rules took longer than storing an answer.
_rules = lru_cache(maxsize=256)(_Rules)


@dataclass(frozen=True)
class Configured:
    id: int
    name: str
    task_type: str
    _rules: _Rules

    @classmethod
    def of(cls, row: Row[Any]) -> Configured:
        return cls(row.id, row.name, row.task_type, _rules(row.loop))

    @property
    def loop(self) -> dict[str, Any]:
        """``Dataset.loop``. Shared: not to be changed."""
        return self._rules.loop

    @property
    def quality(self) -> QualityConfig:
        return self._rules.quality
