"""Waits in line for a dataset's write lock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from learnloop.datasets.waiting import Place

# A task that resumes first waits for a slot: its turn is kept for so long.
HANDOVER = timedelta(minutes=5)


class LockTrigger(BaseTrigger):
    """Keeps a place in line; fires when it is due, or when the place was lost.

    It does not take the lock: the task does when it resumes, so that no lock is held by nobody and none runs out
    while the task waits for a slot. PostgreSQL tells when a lock was given back; a slow look finds what it did not
    tell, such as a holder's expiry.

    :param dataset: the dataset's name.
    :param request_id: the place.
    :param poll_seconds: how often to look without being told.
    """

    def __init__(self, *, dataset: str, request_id: int, poll_seconds: float = 10.0) -> None:
        super().__init__()
        self.dataset = dataset
        self.request_id = request_id
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {"dataset": self.dataset, "request_id": self.request_id, "poll_seconds": self.poll_seconds}
        return (f"{type(self).__module__}.{type(self).__qualname__}", arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from learnloop.database import LOCKS_CHANNEL
        from learnloop.database.engine import listening

        # Before the first look, so that what happens after it is heard.
        async with listening(LOCKS_CHANNEL) as connection:
            while (place := await asyncio.to_thread(self._look)) is not None and not place.due:
                self.log.info("%s: place %d in line, %s", self.dataset, place.position, _holder(place))
                async for told in connection.notifies(timeout=self.poll_seconds):
                    if told.payload == self.dataset:
                        break
            yield TriggerEvent({"status": "lost" if place is None else "due"})

    def _look(self) -> Place | None:
        from learnloop.database import session
        from learnloop.datasets.waiting import PATIENCE, keep_place
        from learnloop.errors import Gone

        with session() as db:
            try:
                place = keep_place(db, self.request_id, PATIENCE + timedelta(seconds=self.poll_seconds))
            except Gone:
                return None
            return keep_place(db, self.request_id, HANDOVER) if place.due else place


def _holder(place: Place) -> str:
    if place.held_by is None or place.held_until is None:
        return "the lock is free"
    return f"{place.held_by} holds the lock until {place.held_until:%Y-%m-%d %H:%M:%S %Z}"
