"""Waits in line for a place on the machine where local jobs run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from learnloop.capacity.reservations import Standing


class AdmissionTrigger(BaseTrigger):
    """Fires ``{"status": "admitted"}`` when a local job has been given its place. It holds no worker's slot meanwhile.

    The process is a worker's, so the task then waits for a slot; its place is kept for a while
    (`learnloop.capacity.deciding.HANDOVER`), and asked for anew after that.

    :param wanted: what the job asks for, as `learnloop.capacity.reservations.Wanted`.
    :param machine: what there is, as the setting ``machine`` says it.
    :param poll_seconds: how often to ask.
    """

    def __init__(self, *, wanted: dict[str, Any], machine: str, poll_seconds: float = 2.0) -> None:
        super().__init__()
        self.wanted = wanted
        self.machine = machine
        self.poll_seconds = poll_seconds
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {"wanted": self.wanted, "machine": self.machine, "poll_seconds": self.poll_seconds}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from sqlalchemy.exc import SQLAlchemyError

        from learnloop_airflow.pods.follow import Waits

        waits = Waits(self.log, self._holder(), self.wanted["user"])
        while True:
            try:
                standing = await asyncio.to_thread(self._ask)
                if standing.given:
                    break
                await waits.say(str(standing))
            except SQLAlchemyError as error:
                self.log.warning("admission: %s", error)
                await waits.say("waiting for Learnloop's database, which does not answer")
            await asyncio.sleep(self.poll_seconds)
        self._fired = True
        yield TriggerEvent({"status": "admitted"})

    def _ask(self) -> Standing:
        from learnloop.capacity.machine import machine
        from learnloop.capacity.reservations import Wanted
        from learnloop.capacity.turn import Turn

        return Turn(Wanted.from_json(self.wanted)).take_a_look(lambda: machine(self.machine))

    def _holder(self) -> Any:
        from learnloop_airflow.pods.names import Owner

        return Owner(**self.wanted["holder"])

    async def on_kill(self) -> None:
        """The task was marked or cleared: leave the line."""
        from learnloop.capacity.reservations import Wanted
        from learnloop.capacity.turn import Turn

        if not self._fired:
            await asyncio.to_thread(Turn(Wanted.from_json(self.wanted)).release, self.log)
