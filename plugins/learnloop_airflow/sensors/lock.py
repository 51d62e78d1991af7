"""Waits for a dataset's write lock, and takes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from learnloop_airflow.common import run_owner
from learnloop_airflow.triggers.lock import LockTrigger


class LockSensor(BaseSensorOperator):
    """Wait in line for a dataset's write lock and take it: higher priority first, then first come, first served.

    A task that is tried again gets its lock with a new token, so that the earlier try cannot write any more. Release
    the lock with ``ReleaseLockOperator`` as a teardown; when that is skipped, the lock expires.

    :param dataset: the dataset's name (templated).
    :param ttl: how long the lock is held unless renewed.
    :param purpose: what others are told who wait for it (templated).
    :param lock_priority: -100 to 100, higher goes first.
    :param deferrable: wait in the triggerer, without a slot.
    :return: ``{dataset, owner, token, expires_at}``; whoever writes passes the token on.
    """

    template_fields: Sequence[str] = ("dataset", "purpose")

    def __init__(
        self,
        *,
        dataset: str,
        ttl: timedelta,
        purpose: str = "",
        lock_priority: int = 0,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.ttl = ttl
        self.purpose = purpose
        self.lock_priority = lock_priority
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        return self.execute_complete(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the lock, or wait (on): also when the turn has passed meanwhile."""
        from learnloop.datasets.waiting import PATIENCE

        lock, request_id = self._ask(context, PATIENCE)
        if lock is None:
            self.defer(
                trigger=LockTrigger(dataset=self.dataset, request_id=request_id),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )
        return lock

    def poke(self, context: Context) -> PokeReturnValue:
        # The place is kept well beyond the next look.
        lock, _ = self._ask(context, timedelta(minutes=1, seconds=3 * self.poke_interval))
        return PokeReturnValue(is_done=lock is not None, xcom_value=lock)

    def _ask(self, context: Context, patience: timedelta) -> tuple[dict[str, Any] | None, int]:
        """The lock, or None and the place in line."""
        from learnloop.database import session
        from learnloop.datasets.versions import get_dataset
        from learnloop.datasets.waiting import Place, request_write

        with session() as db:
            got = request_write(
                db,
                get_dataset(db, self.dataset),
                run_owner(context),
                self.ttl,
                key=_key(context),
                purpose=self.purpose,
                priority=self.lock_priority,
                patience=patience,
            )
            if isinstance(got, Place):
                self.log.info("%s: place %d in line, held by %s", self.dataset, got.position, got.held_by or "nobody")
                return None, got.request_id
            lock = {"dataset": self.dataset, "owner": got.owner, "token": got.token}
            return {**lock, "expires_at": got.expires_at.isoformat()}, 0


def _key(context: Context) -> str:
    """Names this task of this run, however often it is tried."""
    ti = context["ti"]
    key = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"
    return key if len(key) <= 250 else hashlib.sha256(key.encode()).hexdigest()
