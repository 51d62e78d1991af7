"""Operators that undo what they have begun when they are ended from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException


class UndoingOperator(BaseOperator):
    """Marked failed, cleared, or with its worker ended (SIGTERM), the task is interrupted by an exception where it is.

    So what it has begun is undone by the same ``except`` as when it fails. Airflow gives it 5 s for that. Without this the
    process would go on until it is killed, and undo nothing.
    """

    _interruptible = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In here it is interrupted; elsewhere there is nothing to be undone."""
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def on_kill(self) -> None:
        if self._interruptible:
            self._interruptible = False
            raise AirflowException("the task was ended from outside, so what it had begun was undone")
