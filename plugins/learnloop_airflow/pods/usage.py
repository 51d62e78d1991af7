"""What a job's pod uses: how much of its memory, so that a warning comes before the end does, and how much in all."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learnloop.jobs.usage import Usage
from learnloop_airflow.pods.names import JOB
from learnloop_airflow.pods.raw import body
from learnloop_airflow.pods.resize import resize_state

if TYPE_CHECKING:
    from logging import Logger

    from kubernetes_asyncio.client import CoreV1Api

    from learnloop_airflow.pods.resize import Resizer

SHARE = 0.9
"""Of its limit: what is used beyond this is told."""
EVERY_SECONDS = 15.0
"""As often as a kubelet counts."""


@dataclass(frozen=True)
class Counted:
    """What a node counted of a job's container: bytes in use, and processors busy of late."""

    memory: int
    cpus: float


@dataclass
class Seen:
    """What came of several looks: the most memory, the sum of the processors, and how many looks there were."""

    memory: int = 0
    cpus: float = 0.0
    looks: int = 0

    def add(self, counted: Counted) -> None:
        self.memory = max(self.memory, counted.memory)
        self.cpus += counted.cpus
        self.looks += 1

    def usage(self, seconds: float) -> Usage:
        """Of a job that ran for ``seconds``; its processor time is the mean of the looks times that."""
        return Usage(seconds, self.cpus / self.looks * seconds, self.memory) if self.looks else Usage(seconds)


class MemoryWatch:
    """Asks the metrics API, or where there is none the kubelet's summary, which needs the right to ``nodes/proxy``.

    ``seen`` is what it was told, as long as one triggerer holds the trigger: a new one begins anew.
    """

    def __init__(self, log: Logger, resizer: Resizer) -> None:
        self.seen = Seen()
        self._log = log
        self._resizer = resizer
        self._next = 0.0
        self._told: set[tuple[str, str]] = set()
        self._possible = True

    async def warning(self, api: CoreV1Api, pod: Any) -> str | None:
        """What to tell of ``pod``, once a limit; None most of the time. Where it can be, it is given more memory."""
        from kubernetes_asyncio.client import ApiException

        from learnloop.jobs.quantities import bytes_of, quantity_of

        limit = memory_limit(pod)
        told = (pod.metadata.uid, limit) in self._told
        held_back = self._held_back(pod) if told else None
        if not self._possible or limit is None or time.monotonic() < self._next:
            return held_back
        self._next = time.monotonic() + EVERY_SECONDS
        try:
            counted = await _counted(api, pod)
        except ApiException as error:
            if error.status in (401, 403):
                self._possible = False
                self._log.info("its use of memory is not watched: the API server says %s to that", error.status)
            return held_back  # it is asked again, and no job is the worse for it
        if counted is not None:
            self.seen.add(counted)
        if told or counted is None or counted.memory < SHARE * bytes_of(limit):
            return held_back
        self._told.add((pod.metadata.uid, limit))
        said = f"the job uses {quantity_of(counted.memory >> 20 << 20)} of the {limit} of memory it may have"
        given = await self._resizer.grow(api, pod, limit)
        return f"{said}: it is killed when it needs more" if given is None else f"{said}: {given}"

    def _held_back(self, pod: Any) -> str | None:
        """Why it has not got what was asked for; once."""
        why = resize_state(pod)
        if why is None or (pod.metadata.uid, why) in self._told:
            return None
        self._told.add((pod.metadata.uid, why))
        return why


async def _counted(api: CoreV1Api, pod: Any) -> Counted | None:
    """What the job's container uses; None when nobody has counted it yet."""
    from kubernetes_asyncio.client import ApiException, CustomObjectsApi

    from learnloop.jobs.quantities import bytes_of

    name, namespace = pod.metadata.name, pod.metadata.namespace
    try:
        found = await CustomObjectsApi(api.api_client).get_namespaced_custom_object(
            "metrics.k8s.io", "v1beta1", namespace, "pods", name
        )
        used = {container["name"]: container["usage"] for container in found["containers"]}.get(JOB)
        return None if used is None else Counted(bytes_of(used["memory"]), _cores_of(used.get("cpu", "0")))
    except ApiException as error:
        if error.status not in (404, 503):  # no metrics server, or one that has not seen the pod
            raise
    answer = await api.connect_get_node_proxy_with_path(pod.spec.node_name, "stats/summary", _preload_content=False)
    return counted_by_kubelet(json.loads(await body(answer)), pod.metadata.uid)


def counted_by_kubelet(summary: dict[str, Any], uid: str) -> Counted | None:
    """What a kubelet's summary says of the job in pod ``uid``; None when it has not counted it yet."""
    for pod in summary["pods"]:
        if pod["podRef"]["uid"] == uid:
            for container in pod.get("containers", []):
                if container["name"] == JOB and "workingSetBytes" in container.get("memory", {}):
                    cores = container.get("cpu", {}).get("usageNanoCores", 0) / 1e9
                    return Counted(int(container["memory"]["workingSetBytes"]), cores)
    return None


def _cores_of(quantity: str) -> float:
    """A Kubernetes amount of processors: ``250m``, ``1500000n``, ``2``."""
    for unit, factor in {"n": 1e-9, "u": 1e-6, "m": 1e-3}.items():
        if quantity.endswith(unit):
            return int(quantity.removesuffix(unit)) * factor
    return float(quantity)


def memory_limit(pod: Any) -> str | None:
    """What the job's container may have of memory."""
    job = next((container for container in pod.spec.containers if container.name == JOB), None)
    return (job.resources.limits or {}).get("memory") if job is not None and job.resources else None
