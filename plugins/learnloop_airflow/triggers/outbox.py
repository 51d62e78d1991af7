"""Hears that something was written to Learnloop's outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent


class OutboxTrigger(BaseEventTrigger):
    """Fires once at its start (for what was written while nobody listened), then at every notification.

    PostgreSQL delivers a notification when the transaction that wrote the outbox row commits, never before. A lost
    connection ends the trigger with its error; the triggerer starts it again, and its first event makes up for the gap.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (f"{type(self).__module__}.{type(self).__qualname__}", {})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from learnloop.database.engine import listening
        from learnloop.database.outbox import OUTBOX_CHANNEL

        async with listening(OUTBOX_CHANNEL) as connection:
            yield TriggerEvent({"reason": "listening"})
            async for _ in connection.notifies():
                yield TriggerEvent({"reason": "notified"})
