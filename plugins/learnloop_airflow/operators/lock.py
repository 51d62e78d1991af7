"""Gives a dataset's write lock back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context


class ReleaseLockOperator(BaseOperator):
    """Release what ``LockSensor`` took, as its teardown: ``ReleaseLockOperator(...).as_teardown(setups=lock)``.

    :param dataset: the dataset's name (templated).
    :param lock: what the sensor returned: its ``output`` (templated). None, when it never had the lock, is fine.
    :return: False when the lock was not held any more.
    """

    template_fields: Sequence[str] = ("dataset", "lock")

    def __init__(self, *, dataset: str, lock: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.lock = lock

    def execute(self, context: Context) -> bool:
        from learnloop.database import session
        from learnloop.datasets.locks import release
        from learnloop.datasets.versions import get_dataset

        if self.lock is None:
            return False
        with session() as db:
            return release(db, get_dataset(db, self.dataset), self.lock["token"])
