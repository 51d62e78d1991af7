"""What a job's pod has to wait for before it is made: nothing, its reservation, or Kueue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logging import Logger

    from kubernetes_asyncio.client import CoreV1Api

    from learnloop.jobs.spec import JobSpec
    from learnloop_airflow.pods.names import Owner

REFUSALS = 3
"""So often in a row the API server may say that we are not allowed: a token may have run out just then."""


class Refused(Exception):
    """The pod will never be let through as things are; says why."""


class Gate:
    """Nothing to wait for. The time limit of the task counts from its start."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline

    async def holds_back(self, api: CoreV1Api) -> str | None:
        """Why the pod may not be made yet; None: it may, now.

        Raises:
            Refused: nor ever.
        """
        return None

    async def found(self, pod: Any) -> None:
        """The pod is there, made by whichever triggerer."""

    async def says(self, api: CoreV1Api, pod: Any) -> str | None:
        """What a pod that is there still waits for, as far as that is this gate's to know."""
        return None

    async def release(self) -> None:
        """The pod has ended, or will not be made."""

    def late(self) -> bool:
        """Whether the task has had the time it may have."""
        return self.deadline is not None and time.time() >= self.deadline


def admission_for(
    spec: JobSpec, owner: Owner, manifest: dict[str, Any], seconds: float | None
) -> dict[str, Any] | None:
    """What the settings have a pod wait for, as arguments of `gate_of`.

    Args:
        seconds: how long the task may take.
    """
    from learnloop.settings import settings
    from learnloop_airflow.pods.admission import wanted_for

    if settings().admission == "reservation":
        return {"wanted": wanted_for(spec, owner, manifest).to_json(), "seconds": seconds}
    return {"queue": settings().kueue_queue} if settings().admission == "kueue" else None


def gate_of(admission: dict[str, Any] | None, manifest: dict[str, Any], deadline: float | None, log: Logger) -> Gate:
    """The gate of the pod ``manifest``."""
    from learnloop_airflow.pods.admission import ReservationGate
    from learnloop_airflow.pods.kueue import KueueGate

    if admission is None:
        return Gate(deadline)
    if "queue" in admission:
        return KueueGate(admission["queue"], manifest["metadata"]["namespace"], deadline)
    return ReservationGate(admission["wanted"], admission["seconds"], manifest, log)
