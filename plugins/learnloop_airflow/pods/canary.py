"""Watching a canary's pods, and those beside it, through the API server: also where the service network is not ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from learnloop_airflow.pods.raw import body

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient, CoreV1Api

    from learnloop.serving.cluster.judging import Rules, Verdict, Watched
    from learnloop.serving.cluster.units import Unit

Say = Callable[[str], Awaitable[None]]


async def watch(
    connection: ApiClient, unit: Unit, namespace: str, rules: Rules, *, say: Say | None = None, every: float = 2.0
) -> Verdict:
    """Watch until there is something to say of the canary of ``unit``.

    While the API server or a pod does not answer, nothing is counted, and time does not run out sooner for it.
    """
    from kubernetes_asyncio.client import CoreV1Api

    from learnloop.serving.cluster.judging import Watched, judge
    from learnloop.serving.cluster.units import CANARY, STABLE

    api, begun = CoreV1Api(connection), time.monotonic()
    tracks = {STABLE: Watched(), CANARY: Watched()}
    while True:
        ended: list[str] = []
        try:
            for track, watched in tracks.items():
                ended += await _look(api, unit, namespace, track, watched)
        except OSError as error:  # also what aiohttp and asyncio raise when nobody answers
            if say is not None:
                await say(f"the Kubernetes API server does not answer: {error}")
        found = judge(
            tracks[CANARY].counts,
            tracks[STABLE].counts,
            rules,
            version=unit.canary or 0,
            elapsed=time.monotonic() - begun,
            ended=ended,
        )
        if found is not None:
            return found
        await asyncio.sleep(every)


async def _look(api: CoreV1Api, unit: Unit, namespace: str, track: str, watched: Watched) -> list[str]:
    """Count what a track's pods have done. Returns how those of a canary ended by themselves."""
    from kubernetes_asyncio.client import ApiException

    from learnloop.serving.cluster.judging import read_counts
    from learnloop.serving.cluster.manifests import PORT
    from learnloop.serving.cluster.units import CANARY, VERSION

    version = unit.canary if track == CANARY else unit.version
    labels = {**unit.labels(track), VERSION: str(version)}
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    ended = []
    for pod in (await api.list_namespaced_pod(namespace, label_selector=selector)).items:
        if pod.metadata.deletion_timestamp is not None:
            continue
        if track == CANARY:
            ended += _ends(pod)
        try:
            answer = await api.connect_get_namespaced_pod_proxy_with_path(
                f"{pod.metadata.name}:{PORT}", namespace, "metrics", _preload_content=False
            )
            watched.see(pod.metadata.name, read_counts((await body(answer)).decode()))
        except ApiException as error:
            if error.status != 404 and (error.status or 500) < 500:
                raise  # else the pod does not answer: not yet, or not any more
    return ended


def _ends(pod: Any) -> list[str]:
    found = []
    for status in pod.status.container_statuses or []:
        last = (status.last_state.terminated if status.last_state else None) or (
            status.state.terminated if status.state else None
        )
        if last is not None:
            found.append(f"exit code {last.exit_code} ({last.reason}): {last.message or ''}".rstrip(": "))
    return found
