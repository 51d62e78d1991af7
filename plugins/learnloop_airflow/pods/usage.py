"""How much of its memory a job uses, so that a warning comes before the end does."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

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


class MemoryWatch:
    """Asks the metrics API, or where there is none the kubelet's summary, which needs the right to ``nodes/proxy``."""

    def __init__(self, log: Logger, resizer: Resizer) -> None:
        self._log = log
        self._resizer = resizer
        self._next = 0.0
        self._told: set[tuple[str, str]] = set()
        self._possible = True

    async def warning(self, api: CoreV1Api, pod: Any) -> str | None:
        """What to tell of ``pod``, once a limit; None most of the time. Where it can be, it is given more memory."""
        from kubernetes_asyncio.client import ApiException

        from learnloop.jobs.quantities import bytes_of, quantity_of

        limit = _limit(pod)
        if not self._possible or limit is None or time.monotonic() < self._next:
            return None
        if (pod.metadata.uid, limit) in self._told:
            return self._held_back(pod)
        self._next = time.monotonic() + EVERY_SECONDS
        try:
            used = await _used(api, pod)
        except ApiException as error:
            if error.status in (401, 403):
                self._possible = False
                self._log.info("its use of memory is not watched: the API server says %s to that", error.status)
            return None  # it is asked again, and no job is the worse for it
        if used is None or used < SHARE * bytes_of(limit):
            return None
        self._told.add((pod.metadata.uid, limit))
        said = f"the job uses {quantity_of(used >> 20 << 20)} of the {limit} of memory it may have"
        given = await self._resizer.grow(api, pod, limit)
        return f"{said}: it is killed when it needs more" if given is None else f"{said}: {given}"

    def _held_back(self, pod: Any) -> str | None:
        """Why it has not got what was asked for; once."""
        why = resize_state(pod)
        if why is None or (pod.metadata.uid, why) in self._told:
            return None
        self._told.add((pod.metadata.uid, why))
        return why


async def _used(api: CoreV1Api, pod: Any) -> int | None:
    """Bytes in use by the job's container; None when nobody has counted them yet."""
    from kubernetes_asyncio.client import ApiException, CustomObjectsApi

    from learnloop.jobs.quantities import bytes_of

    name, namespace = pod.metadata.name, pod.metadata.namespace
    try:
        found = await CustomObjectsApi(api.api_client).get_namespaced_custom_object(
            "metrics.k8s.io", "v1beta1", namespace, "pods", name
        )
        counted = {container["name"]: container["usage"]["memory"] for container in found["containers"]}
        return bytes_of(counted[JOB]) if JOB in counted else None
    except ApiException as error:
        if error.status not in (404, 503):  # no metrics server, or one that has not seen the pod
            raise
    answer = await api.connect_get_node_proxy_with_path(pod.spec.node_name, "stats/summary", _preload_content=False)
    for counted_pod in json.loads(await body(answer))["pods"]:
        if counted_pod["podRef"]["uid"] == pod.metadata.uid:
            for container in counted_pod.get("containers", []):
                if container["name"] == JOB and "workingSetBytes" in container.get("memory", {}):
                    return int(container["memory"]["workingSetBytes"])
    return None


def _limit(pod: Any) -> str | None:
    job = next((container for container in pod.spec.containers if container.name == JOB), None)
    return (job.resources.limits or {}).get("memory") if job is not None and job.resources else None
