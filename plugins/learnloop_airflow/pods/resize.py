"""More memory for a job while it runs, where the cluster resizes pods in place (Kubernetes 1.33 and later)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from learnloop_airflow.pods.names import JOB
from learnloop_airflow.pods.state import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from kubernetes_asyncio.client import CoreV1Api

SUBRESOURCE = "pods/resize"


class Resizer:
    """Gives one job's pod more memory, within the cap that tries after an end by lack of memory have, too.

    What it has been given is remembered beside the job's results, so that a next try begins with it.
    """

    def __init__(self, results: Path, cap: str) -> None:
        self._results = results
        self._cap = cap
        self._possible: bool | None = None

    async def grow(self, api: CoreV1Api, pod: Any, limit: str) -> str | None:
        """Ask for twice ``limit`` for ``pod``; what came of it, in words. None where this cluster has no such thing."""
        from kubernetes_asyncio.client import ApiException

        from learnloop.jobs.memory import more, remember

        wanted = more(limit, self._cap)
        if wanted is None or not await self._is_served(api):
            return None
        amounts = {"memory": wanted}
        job = {"name": JOB, "resources": {"requests": amounts, "limits": amounts}}
        try:
            await api.patch_namespaced_pod_resize(
                pod.metadata.name,
                pod.metadata.namespace,
                {"metadata": {"uid": pod.metadata.uid}, "spec": {"containers": [job]}},
                _content_type="application/strategic-merge-patch+json",
            )
        except ApiException as error:
            if error.status in (401, 403) and "quota" not in refusal(error.body):
                self._possible = False  # the right to it is not given; warnings are
            return f"it cannot be given {wanted} in place: {refusal(error.body)}"
        await asyncio.to_thread(remember, self._results, wanted)
        return f"it is being given {wanted} in place"

    async def _is_served(self, api: CoreV1Api) -> bool:
        """Whether the cluster has it and we may; asked for once, unless no answer comes."""
        from kubernetes_asyncio.client import ApiException

        if self._possible is None:
            try:
                found = await api.get_api_resources()
            except ApiException:  # a warning, then, as without it
                return False
            self._possible = any(one.name == SUBRESOURCE and "patch" in one.verbs for one in found.resources)
        return self._possible


def resize_state(pod: Any) -> str | None:
    """Why a resize that was asked for has not been made; None when nothing is known of one, or it was."""
    for condition in (pod.status.conditions or []) if pod.status is not None else []:
        if condition.type == "PodResizePending" and condition.status == "True":
            return f"the node does not give the job more memory ({condition.reason}): {condition.message or ''}".rstrip(
                ": "
            )
    return None
