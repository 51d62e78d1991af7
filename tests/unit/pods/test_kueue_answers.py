"""What is asked of a cluster with Kueue, and what is made of its answers.

No Kueue can run where these tests do, so its API server is a stand-in that answers as Kueue's documentation says
(kueue.sigs.k8s.io, "Run Plain Pods" and the reference of kueue.x-k8s.io/v1beta1). The client, and the way to it, are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes_asyncio.client import ApiClient, Configuration, CoreV1Api

from learnloop_airflow.pods.gate import Refused
from learnloop_airflow.pods.kueue import KueueGate, queued

MESSAGE = "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor default, 1 more needed"


def asked(
    question: Callable[[KueueGate, CoreV1Api], Awaitable[str | None]],
    *,
    version: str = "v1beta1",
    queues: tuple[str, ...] = ("training",),
    workloads: list[dict[str, Any]] | None = None,
) -> str | None:
    """What ``question`` gets to know of a cluster with such objects."""

    async def groups(_: web.Request) -> web.Response:
        served = {"groupVersion": f"kueue.x-k8s.io/{version}", "version": version}
        group = {"name": "kueue.x-k8s.io", "versions": [served], "preferredVersion": served}
        return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]})

    async def queue(request: web.Request) -> web.Response:
        if request.match_info["name"] in queues:
            return web.json_response({"metadata": {"name": request.match_info["name"]}})
        return web.json_response({"message": 'localqueues.kueue.x-k8s.io "training" not found'}, status=404)

    async def listed(request: web.Request) -> web.Response:
        assert request.query["labelSelector"] == "kueue.x-k8s.io/job-uid=u-1"
        return web.json_response({"items": workloads or []})

    async def main() -> str | None:
        app = web.Application()
        base = f"/apis/kueue.x-k8s.io/{version}/namespaces/jobs"
        app.add_routes(
            [
                web.get("/apis/", groups),
                web.get(base + "/localqueues/{name}", queue),
                web.get(base + "/workloads", listed),
            ]
        )
        async with TestServer(app) as server:
            client = ApiClient(Configuration(host=str(server.make_url("")).rstrip("/")))
            try:
                return await question(KueueGate("training", "jobs"), CoreV1Api(client))
            finally:
                await client.close()

    return asyncio.run(main())


def problem(kueue: KueueGate, api: CoreV1Api) -> Awaitable[str | None]:
    return kueue.holds_back(api)


def waits_for(kueue: KueueGate, api: CoreV1Api) -> Awaitable[str | None]:
    gates = [SimpleNamespace(name="kueue.x-k8s.io/admission")]
    pod = SimpleNamespace(spec=SimpleNamespace(scheduling_gates=gates), metadata=SimpleNamespace(uid="u-1"))
    return kueue.says(api, pod)


def test_with_kueue_and_the_queue_there_is_no_problem_whatever_version_is_served() -> None:
    assert asked(problem) is None
    assert asked(problem, version="v1beta2") is None


def test_a_queue_that_is_missing_is_named() -> None:
    said = r"there is no LocalQueue 'training' in namespace jobs \(LEARNLOOP_KUEUE_QUEUE\): .*\"training\" not found"
    with pytest.raises(Refused, match=said):
        asked(problem, queues=("other",))


def test_what_kueue_says_of_a_pod_is_what_it_waits_for() -> None:
    said = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": MESSAGE}
    assert asked(waits_for, workloads=[{"status": {"conditions": [said]}}]) == f"in queue training: {MESSAGE}"
    assert asked(waits_for, workloads=[{}]) == "in queue training: Kueue has not said why"
    assert asked(waits_for) == (
        "in queue training: Kueue has not seen the pod yet (is its integration for pods switched on?)"
    )


def test_a_pod_without_the_gate_is_admitted() -> None:
    pod = SimpleNamespace(spec=SimpleNamespace(scheduling_gates=None), metadata=SimpleNamespace(uid="u-1"))
    assert asked(lambda kueue, api: kueue.says(api, pod)) is None


def test_a_pod_is_suspended_from_the_beginning_and_the_rest_of_it_is_kept() -> None:
    manifest = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"schedulingGates": [{"name": "own"}], "x": 1}}
    assert queued(manifest, "training") == {
        "metadata": {"name": "p", "labels": {"a": "b", "kueue.x-k8s.io/queue-name": "training"}},
        "spec": {"schedulingGates": [{"name": "own"}, {"name": "kueue.x-k8s.io/admission"}], "x": 1},
    }
    assert manifest["metadata"]["labels"] == {"a": "b"}
