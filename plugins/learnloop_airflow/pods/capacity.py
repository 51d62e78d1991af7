"""What a cluster has for jobs: its nodes, and what all pods on them ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from learnloop.capacity.amounts import Amounts, Node, total_of
from learnloop.capacity.deciding import Machines, Occupant
from learnloop_airflow.pods.names import MANAGED

if TYPE_CHECKING:
    from kubernetes_asyncio.client import CoreV1Api

GPU = "nvidia.com/gpu"
POOL = "learnloop/node-pool"
LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed"
Json = Mapping[str, Any]


async def read(api: CoreV1Api, manifest: Json) -> Machines:
    """The cluster as it is now, for jobs whose pods are made like ``manifest``.

    Read as JSON: to make objects of every pod of a cluster would take longer than all the rest. From the API server's cache,
    for a decision counts what it has just made itself by its own rows.
    """
    from learnloop_airflow.pods.raw import body

    cached = {"resource_version": "0", "_preload_content": False}
    nodes = json.loads(await body(await api.list_node(**cached)))["items"]
    pods = json.loads(await body(await api.list_pod_for_all_namespaces(field_selector=LIVE_PODS, **cached)))["items"]
    return machines(nodes, pods, manifest)


def machines(nodes: Sequence[Json], pods: Sequence[Json], manifest: Json) -> Machines:
    """The same of what the API server has said. Nodes that none of our pods may be put on are left out."""
    found = [node for each in nodes if (node := _node(each, manifest["spec"])) is not None]
    namespace = manifest["metadata"]["namespace"]
    return Machines(found, [_occupant(pod, namespace) for pod in pods if pod["spec"].get("nodeName")])


def requests_of(spec: Json) -> Amounts:
    """What a pod's node must have free for it (as Kubernetes' scheduler counts it).

    All containers together with sidecars (init containers that go on), or more while an init container runs; and overhead.
    """
    sidecars, peak = Amounts(), Amounts()
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            sidecars = sidecars.plus(_requests(container))
        else:
            peak = _larger(peak, sidecars.plus(_requests(container)))
    together = total_of([_requests(container) for container in spec.get("containers") or []]).plus(sidecars)
    return _larger(together, peak).plus(_amounts(spec.get("overhead") or {}))


def _node(node: Json, job: Json) -> Node | None:
    labels, spec, status = node["metadata"].get("labels") or {}, node.get("spec") or {}, node["status"]
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or [])
    selector = {name: value for name, value in (job.get("nodeSelector") or {}).items() if name != POOL}
    if not ready or spec.get("unschedulable") or any(labels.get(name) != value for name, value in selector.items()):
        return None
    pool, dedicated, gpu_only = labels.get(POOL), False, False
    for taint in spec.get("taints") or []:
        if taint["effect"] == "PreferNoSchedule":
            continue
        if taint["key"] == POOL and taint.get("value") == pool:
            dedicated = True
        elif taint["key"] == GPU:
            gpu_only = True
        elif not any(_tolerates(one, taint) for one in job.get("tolerations") or []):
            return None
    total = _amounts(status["allocatable"])
    return Node(node["metadata"]["name"], total, total, pool, dedicated, gpu_only)


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("key") in (POOL, GPU):
        return False  # that is one job's, and not every job's
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or ""))


def _occupant(pod: Json, namespace: str) -> Occupant:
    about = pod["metadata"]
    ours = about["namespace"] == namespace and MANAGED.items() <= (about.get("labels") or {}).items()
    return Occupant(about["name"] if ours else None, pod["spec"]["nodeName"], requests_of(pod["spec"]))


def _requests(container: Json) -> Amounts:
    return _amounts((container.get("resources") or {}).get("requests") or {})


def _amounts(of: Json) -> Amounts:
    cpu = _quantity(str(of.get("cpu", 0)), 1000)
    return Amounts(cpu, _quantity(str(of.get("memory", 0)), 1), _quantity(str(of.get(GPU, 0)), 1))


def _larger(one: Amounts, other: Amounts) -> Amounts:
    return Amounts(*map(max, one, other))


@lru_cache(maxsize=10_000)
def _quantity(text: str, times: int) -> int:
    from kubernetes.utils.quantity import parse_quantity

    return round(parse_quantity(text) * times)
