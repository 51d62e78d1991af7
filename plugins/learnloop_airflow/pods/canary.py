"""Watching a canary, and what it stands beside: pods through the API server, also where the service network is not ours;
model servers that read the database by their addresses there.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from learnloop_airflow.pods.raw import body

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient

    from learnloop.serving.cluster.judging import Rules, Verdict
    from learnloop.serving.cluster.units import Unit
    from learnloop.serving.looking import Look

REFUSALS = 5
"""So many looks one after another must be refused before it is believed: an API server that starts knows no rights yet."""

Say = Callable[[str], Awaitable[None]]
Looking = Callable[[], Awaitable["Look"]]
"""Raises Away, or Refused."""


class Away(Exception):
    """Who is asked does not answer now."""


class Refused(Away):
    """Who is asked does not allow it; one that starts may say so by mistake."""


async def watch(
    look: Looking,
    unit: Unit,
    rules: Rules,
    *,
    gone: Callable[[], Verdict | None] = lambda: None,
    say: Say | None = None,
    every: float = 2.0,
) -> Verdict:
    """Watch until there is something to say of the canary of ``unit``.

    While nobody answers, nothing is counted, and time does not run out sooner for it.

    Args:
        gone: what is to be said when the canary is there no longer, since others ended it; asked in a thread.
    """
    from learnloop.serving.cluster.judging import Verdict, Watched
    from learnloop.serving.cluster.units import CANARY, STABLE

    seconds, refusals = 0.0, 0
    last: float | None = None
    tracks = {STABLE: Watched(), CANARY: Watched()}
    while True:
        found, now = None, time.monotonic()
        try:
            seen = await look()
            # Requests that were answered meanwhile are counted at the next look; the time in which nobody looked is not.
            seconds += now - last if last is not None else 0.0
            last, refusals = now, 0
            found = seen.judged(tracks, rules, unit, seconds)
        except Away as error:
            last = None
            refusals = refusals + 1 if isinstance(error, Refused) else 0
            if refusals > REFUSALS:
                return Verdict(False, f"it cannot be watched: {error}")
            if say is not None:
                await say(str(error))
        ended = await _ask(gone, say)
        if ended is not None:
            return ended
        if found is not None:
            return found
        await asyncio.sleep(every)


def at_pods(connection: ApiClient, unit: Unit, namespace: str) -> Looking:
    """Looks at the pods of ``unit``."""

    async def look() -> Look:
        from aiohttp import ClientError
        from kubernetes_asyncio.client import ApiException

        try:
            return await _look_at_pods(connection, unit, namespace)
        except ApiException as error:
            kind = Refused if error.status != 429 and (error.status or 500) < 500 else Away
            raise kind(f"the Kubernetes API server says {error.status}: {error.reason}") from error
        except (ClientError, OSError) as error:
            raise Away(f"the Kubernetes API server does not answer: {error or type(error).__name__}") from error

    return look


def at_servers(unit: Unit) -> Looking:
    """Looks at the model servers that read the database."""

    async def look() -> Look:
        from sqlalchemy.exc import SQLAlchemyError

        from learnloop.database import session
        from learnloop.serving.looking import look_at_servers

        try:
            return await asyncio.to_thread(look_at_servers, session, unit)
        except SQLAlchemyError as error:
            raise Away(f"the database does not answer: {type(error).__name__}") from error

    return look


async def _ask(gone: Callable[[], Verdict | None], say: Say | None) -> Verdict | None:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return await asyncio.to_thread(gone)
    except SQLAlchemyError as error:
        if say is not None:
            await say(f"the database does not answer: {type(error).__name__}")
        return None


async def _look_at_pods(connection: ApiClient, unit: Unit, namespace: str) -> Look:
    from kubernetes_asyncio.client import ApiException, CoreV1Api

    from learnloop.serving.cluster.judging import read_counts
    from learnloop.serving.cluster.looking import can_be_asked, ends, labels_of
    from learnloop.serving.cluster.manifests import PORT
    from learnloop.serving.cluster.units import CANARY, STABLE
    from learnloop.serving.looking import Look

    api, found = CoreV1Api(connection), Look(own=True)
    for track in (STABLE, CANARY):
        selector = ",".join(f"{name}={value}" for name, value in labels_of(unit, track).items())
        pods = await api.list_namespaced_pod(namespace, label_selector=selector, _preload_content=False)
        for pod in json.loads(await body(pods))["items"]:
            if pod["metadata"].get("deletionTimestamp") is not None:
                continue
            if track == CANARY:
                found.ended += ends(pod)
            if not can_be_asked(pod):
                continue
            name = pod["metadata"]["name"]
            try:
                answer = await api.connect_get_namespaced_pod_proxy_with_path(
                    f"{name}:{PORT}", namespace, "metrics", _preload_content=False
                )
                found.counts[track][name] = read_counts((await body(answer)).decode())
            except ApiException as error:
                if error.status != 404 and (error.status or 500) < 500:
                    raise  # else the pod does not answer: not yet, or not any more
    return found
