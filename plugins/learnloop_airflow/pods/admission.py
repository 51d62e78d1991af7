"""A pod's way to its turn: what is asked for, before it is made, and given back when it has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from learnloop_airflow.pods import capacity
from learnloop_airflow.pods.gate import REFUSALS, Gate, Refused
from learnloop_airflow.pods.state import refusal

if TYPE_CHECKING:
    from datetime import datetime
    from logging import Logger

    from kubernetes_asyncio.client import CoreV1Api

    from learnloop.capacity.deciding import Machines
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


class ReservationGate(Gate):
    """A pod that is made when its reservation is given. The time limit of the task counts from then on.

    A database of ours that is away is waited for: nothing is begun without it.
    """

    def __init__(self, wanted: dict[str, Any], seconds: float | None, manifest: dict[str, Any], log: Logger) -> None:
        from learnloop.capacity.reservations import Wanted
        from learnloop.capacity.turn import Turn

        super().__init__()
        self._turn = Turn(Wanted.from_json(wanted))
        self._seconds = seconds
        self._manifest = manifest
        self._log = log
        self._refusals = 0

    async def holds_back(self, api: CoreV1Api) -> str | None:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            standing = await asyncio.to_thread(self._turn.ask)
            if standing.state == "waiting" and await asyncio.to_thread(self._turn.is_to_decide):
                await asyncio.to_thread(self._turn.decide, await self._read(api))
                standing = await asyncio.to_thread(self._turn.ask)
            if not await asyncio.to_thread(self._turn.begin, standing):
                return str(standing)
        except SQLAlchemyError as error:
            self._log.warning("admission: %s", error)
            return "waiting for Learnloop's database, which does not answer"
        self._counts_from(standing.admitted_at)
        return None

    async def _read(self, api: CoreV1Api) -> Machines:
        from kubernetes_asyncio.client import ApiException

        try:
            found = await capacity.read(api, self._manifest)
        except ApiException as error:
            if error.status not in (401, 403):
                raise
            self._refusals += 1
            if self._refusals < REFUSALS:
                raise
            raise Refused(
                f"the API server says {error.status}: {refusal(error.body)}; reservations need the rights of"
                " deploy/kubernetes/rbac-admission.yaml"
            ) from error
        self._refusals = 0
        return found

    async def found(self, pod: Any) -> None:
        """One made without a reservation counts from when it was made."""
        from sqlalchemy.exc import SQLAlchemyError

        if self.deadline is None and self._seconds is not None:
            try:
                given_at = await asyncio.to_thread(self._turn.given_at)
            except SQLAlchemyError as error:  # asked again at the next look
                self._log.warning("admission: %s", error)
            else:
                self._counts_from(given_at or pod.metadata.creation_timestamp)

    async def release(self) -> None:
        await asyncio.to_thread(self._turn.release, self._log)

    def _counts_from(self, moment: datetime | None) -> None:
        if moment is not None and self._seconds is not None:
            self.deadline = moment.timestamp() + self._seconds
