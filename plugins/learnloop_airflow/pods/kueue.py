"""Pods that Kueue admits (kueue.sigs.k8s.io, "Run Plain Pods"): the label of their queue, and what Kueue says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from learnloop_airflow.pods.gate import Gate, Refused
from learnloop_airflow.pods.state import refusal

if TYPE_CHECKING:
    from kubernetes_asyncio.client import CoreV1Api

GROUP = "kueue.x-k8s.io"
QUEUE = f"{GROUP}/queue-name"
GATE = f"{GROUP}/admission"
JOB_UID = f"{GROUP}/job-uid"
"""The label by which a Workload names what it was made for."""


def queued(manifest: dict[str, Any], queue: str) -> dict[str, Any]:
    """``manifest`` as a pod of ``queue``, suspended from the beginning.

    The gate is the one that Kueue's webhook sets too: with it, a cluster whose Kueue does not look after pods leaves the pod
    waiting, with the reason shown, instead of running it past all quotas.
    """
    about, spec = manifest["metadata"], manifest["spec"]
    labels = {**(about.get("labels") or {}), QUEUE: queue}
    gates = [*(spec.get("schedulingGates") or []), {"name": GATE}]
    return {**manifest, "metadata": {**about, "labels": labels}, "spec": {**spec, "schedulingGates": gates}}


class KueueGate(Gate):
    """A pod that Kueue admits: it is made suspended, in its queue."""

    def __init__(self, queue: str, namespace: str, deadline: float | None = None) -> None:
        super().__init__(deadline)
        self._queue = queue
        self._namespace = namespace
        self._version = ""

    async def holds_back(self, api: CoreV1Api) -> str | None:
        from kubernetes_asyncio.client import ApiException, ApisApi

        groups = (await ApisApi(api.api_client).get_api_versions()).groups
        group = next((one for one in groups if one.name == GROUP), None)
        if group is None:
            raise Refused(
                f"LEARNLOOP_ADMISSION is kueue, but the cluster has no Kueue (API group {GROUP}): install it, or choose"
                " reservation"
            )
        self._version = group.preferred_version.version
        try:
            await self._objects(api).get_namespaced_custom_object(
                GROUP, self._version, self._namespace, "localqueues", self._queue
            )
        except ApiException as error:
            if error.status != 404:
                raise
            raise Refused(
                f"there is no LocalQueue {self._queue!r} in namespace {self._namespace} (LEARNLOOP_KUEUE_QUEUE):"
                f" {refusal(error.body)}"
            ) from error
        return None

    async def says(self, api: CoreV1Api, pod: Any) -> str | None:
        if not any(gate.name == GATE for gate in pod.spec.scheduling_gates or []):
            return None
        if not self._version:  # another triggerer made the pod
            await self.holds_back(api)
        found = await self._objects(api).list_namespaced_custom_object(
            GROUP, self._version, self._namespace, "workloads", label_selector=f"{JOB_UID}={pod.metadata.uid}"
        )
        said = [
            condition.get("message") or condition.get("reason") or ""
            for workload in found["items"]
            for condition in (workload.get("status") or {}).get("conditions") or []
            if condition["type"] in ("QuotaReserved", "Admitted") and condition["status"] == "False"
        ]
        if not found["items"]:
            return f"in queue {self._queue}: Kueue has not seen the pod yet (is its integration for pods switched on?)"
        return f"in queue {self._queue}: {said[0] if said else 'Kueue has not said why'}"

    def _objects(self, api: CoreV1Api) -> Any:
        from kubernetes_asyncio.client import CustomObjectsApi

        return CustomObjectsApi(api.api_client)
