"""Put a version's files into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import run_owner, store, writable


class RestoreOperator(BaseOperator):
    """Restore a dataset version; the target appears complete or not at all.

    :param version: the version's name (templated).
    :param target: the folder to make; it must not exist, or be empty (templated).
    """

    template_fields: Sequence[str] = ("version", "target")

    def __init__(self, *, version: str, target: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.target = target

    def execute(self, context: Context) -> str:
        from learnloop.database import session
        from learnloop.datasets.restore import restore

        owner = run_owner(context)
        with session() as db:
            restore(db, store(), self.version, writable(self.target, owner), user=owner)
        return self.target
