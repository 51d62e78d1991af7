"""More memory in place, against an API server's recorded discovery: real requests on a real socket.

``discovery/v1.20.json`` is what the test cluster says of pods; ``v1.33.json`` has the subresource that 1.33 serves,
as its API reference has it, for there is no such cluster here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from kubernetes_asyncio.client import ApiClient, Configuration, CoreV1Api

from learnloop_airflow.pods import usage
from learnloop_airflow.pods.resize import Resizer, resize_state

DISCOVERY = Path(__file__).parent / "discovery"


def job_pod(memory: str = "512Mi", conditions: list[Any] | None = None) -> Any:
    resources = SimpleNamespace(limits={"memory": memory})
    return SimpleNamespace(
        metadata=SimpleNamespace(name="job-x", namespace="n", uid="u"),
        spec=SimpleNamespace(node_name="node", containers=[SimpleNamespace(name="job", resources=resources)]),
        status=SimpleNamespace(conditions=conditions or []),
    )


def on_server(version: str, work: Callable[[CoreV1Api], Awaitable[Any]], refuse: int = 0, used: str = "500Mi") -> Any:
    """What ``work`` returns, and the bodies of the resizes that the server was asked for."""
    asked: list[dict[str, Any]] = []

    async def discovery(_: web.Request) -> web.Response:
        return web.json_response(json.loads((DISCOVERY / f"{version}.json").read_text()))

    async def resize(request: web.Request) -> web.Response:
        assert request.headers["Content-Type"] == "application/strategic-merge-patch+json"
        asked.append(await request.json())
        if refuse:
            return web.json_response({"message": "pods is forbidden"}, status=refuse)
        return web.json_response({"kind": "Pod"})

    async def metrics(_: web.Request) -> web.Response:
        return web.json_response({"containers": [{"name": "job", "usage": {"memory": used, "cpu": "250m"}}]})

    async def run() -> Any:
        app = web.Application()
        app.router.add_get("/api/v1/", discovery)
        app.router.add_patch("/api/v1/namespaces/n/pods/job-x/resize", resize)
        app.router.add_get("/apis/metrics.k8s.io/v1beta1/namespaces/n/pods/job-x", metrics)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        try:
            async with ApiClient(Configuration(host=f"http://127.0.0.1:{port}")) as client:
                return await work(CoreV1Api(client)), asked
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_where_the_cluster_has_it_a_job_gets_more_and_so_does_its_next_try(tmp_path: Path) -> None:
    said, asked = on_server("v1.33", lambda api: Resizer(tmp_path, "16Gi").grow(api, job_pod(), "512Mi"))
    assert said == "it is being given 1Gi in place"
    amounts = {"memory": "1Gi"}
    job = {"name": "job", "resources": {"requests": amounts, "limits": amounts}}
    assert asked == [{"metadata": {"uid": "u"}, "spec": {"containers": [job]}}]
    assert json.loads((tmp_path / "memory.json").read_text()) == {"memory": "1Gi"}


@pytest.mark.parametrize(("version", "cap"), [("v1.20", "16Gi"), ("v1.33", "512Mi")])
def test_where_it_has_not_or_at_the_cap_nothing_is_asked_for(tmp_path: Path, version: str, cap: str) -> None:
    assert on_server(version, lambda api: Resizer(tmp_path, cap).grow(api, job_pod(), "512Mi")) == (None, [])
    assert not (tmp_path / "memory.json").exists()


def test_without_the_right_to_it_one_is_told_once(tmp_path: Path) -> None:
    resizer = Resizer(tmp_path, "16Gi")

    async def twice(api: CoreV1Api) -> list[str | None]:
        return [await resizer.grow(api, job_pod(), "512Mi") for _ in range(2)]

    said, asked = on_server("v1.33", twice, refuse=403)
    assert said == ["it cannot be given 1Gi in place: pods is forbidden", None]
    assert len(asked) == 1
    assert not (tmp_path / "memory.json").exists()


def test_a_job_near_its_limit_is_warned_of_and_again_near_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "EVERY_SECONDS", 0.0)
    watch = usage.MemoryWatch(logging.getLogger("test"), Resizer(tmp_path, "2Gi"))
    pending = SimpleNamespace(type="PodResizePending", status="True", reason="Deferred", message="Node has no room")

    async def look(api: CoreV1Api) -> list[str | None]:
        pods = [job_pod(), job_pod(), job_pod(conditions=[pending]), job_pod(conditions=[pending]), job_pod("520Mi")]
        return [await watch.warning(api, pod) for pod in pods]

    said, asked = on_server("v1.33", look)
    assert said == [
        "the job uses 500Mi of the 512Mi of memory it may have: it is being given 1Gi in place",
        None,
        "the node does not give the job more memory (Deferred): Node has no room",
        None,
        "the job uses 500Mi of the 520Mi of memory it may have: it is being given 1040Mi in place",
    ]
    assert len(asked) == 2
    assert watch.seen == usage.Seen(memory=500 * 2**20, cpus=1.25, looks=5)  # also while it has been told of
    watch = usage.MemoryWatch(logging.getLogger("test"), Resizer(tmp_path, "2Gi"))
    said, asked = on_server("v1.20", lambda api: watch.warning(api, job_pod()))
    assert said == "the job uses 500Mi of the 512Mi of memory it may have: it is killed when it needs more"
    assert resize_state(job_pod()) is None
