"""A pod's way to its turn: what is asked for, before it is made, and given back when it has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from learnloop_airflow.pods import capacity

if TYPE_CHECKING:
    from datetime import datetime
    from logging import Logger

    from kubernetes_asyncio.client import CoreV1Api

    from learnloop.capacity.reservations import Wanted
    from learnloop.jobs.spec import JobSpec
    from learnloop_airflow.pods.names import Owner

RUNNER = "kubernetes"


def wanted_for(spec: JobSpec, owner: Owner, manifest: dict[str, Any] | None = None) -> Wanted:
    """What the pod of ``manifest`` needs a reservation of; without one, what is enough to name the reservation."""
    from learnloop.capacity.amounts import Amounts
    from learnloop.capacity.reservations import Wanted

    amounts = Amounts() if manifest is None else capacity.requests_of(manifest["spec"])
    about = (amounts, spec.timeout_seconds, spec.priority, spec.node_pool)
    return Wanted(RUNNER, spec.user, spec.key, *about, owner.holder())


class Admission:
    """The turn of one try's pod.

    ``said`` is what it waits for, in words. A database of ours that is away is waited for: nothing is begun without it.
    """

    def __init__(self, wanted: dict[str, Any], manifest: dict[str, Any], log: Logger) -> None:
        from learnloop.capacity.reservations import Wanted
        from learnloop.capacity.turn import Turn

        self.said = ""
        self.since: datetime | None = None
        self._turn = Turn(Wanted.from_json(wanted))
        self._manifest = manifest
        self._log = log

    async def given(self, api: CoreV1Api) -> bool:
        """Ask, and decide for all when that is due. True: the pod may be made now, and what it needs is held for it."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            standing = await asyncio.to_thread(self._turn.ask)
            if standing.state == "waiting" and await asyncio.to_thread(self._turn.is_to_decide):
                await asyncio.to_thread(self._turn.decide, await capacity.read(api, self._manifest))
                standing = await asyncio.to_thread(self._turn.ask)
            self.said = str(standing)
            self.since = standing.admitted_at if standing.given else None
            return await asyncio.to_thread(self._turn.begin, standing)
        except SQLAlchemyError as error:
            self._log.warning("admission: %s", error)
            self.said = "waiting for Learnloop's database, which does not answer"
            return False

    async def recall(self, otherwise: datetime) -> None:
        """Find out when the pod that is there was admitted; one made without a reservation counts from ``otherwise``."""
        from sqlalchemy.exc import SQLAlchemyError

        if self.since is None:
            try:
                self.since = await asyncio.to_thread(self._turn.given_at) or otherwise
            except SQLAlchemyError as error:  # asked again at the next look
                self._log.warning("admission: %s", error)

    async def release(self) -> None:
        await asyncio.to_thread(self._turn.release, self._log)
