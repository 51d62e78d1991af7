"""What a cluster has for jobs, of what its API says."""

from __future__ import annotations

import pytest

from learnloop.capacity.amounts import Amounts
from learnloop.capacity.deciding import Occupant
from learnloop_airflow.pods.capacity import machines, requests_of
from learnloop_airflow.pods.names import MANAGED

GIB = 2**30


def node(
    name: str = "n1", *, ready: str = "True", labels: dict | None = None, taints: list | None = None, **spec
) -> dict:
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": taints or [], **spec},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {"cpu": "3920m", "memory": "16Gi", "nvidia.com/gpu": "2", "pods": "110"},
        },
    }


def container(cpu: str, memory: str = "1Gi", **more) -> dict:
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}}, **more}


def pod(name: str = "p", namespace: str = "jobs", *, labels: dict | None = None, on: str | None = "n1") -> dict:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": on, "containers": [container("1")]},
    }


def job(**spec) -> dict:
    return {"metadata": {"namespace": "jobs"}, "spec": spec}


def taint(key: str, value: str = "", effect: str = "NoSchedule") -> dict:
    return {"key": key, "value": value, "effect": effect}


@pytest.mark.parametrize(
    ("spec", "cores", "gib"),
    [
        ({"containers": [container("500m", "1Gi"), container("1", "2Gi")]}, 1.5, 3),
        ({"containers": [container("1")], "initContainers": [container("100m", "4Gi"), container("3", "1Gi")]}, 3, 4),
        ({"containers": [container("1")], "initContainers": [container("1", restartPolicy="Always")]}, 2, 2),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", restartPolicy="Always"), container("3"), container("250m")],
            },
            4,
            2,
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m", "memory": "128Mi"}}, 1.25, 1.125),
        ({"containers": [{"resources": {}}, {}]}, 0, 0),
        ({"containers": [container("0.1", "1e3")]}, 0.1, 1000 / GIB),
    ],
    ids=["containers", "init", "sidecar", "sidecar while others start", "overhead", "nothing asked", "other notations"],
)
def test_what_a_pod_asks_of_its_node(spec: dict, cores: float, gib: float) -> None:
    assert requests_of(spec) == Amounts(round(cores * 1000), round(gib * GIB), 0)


def test_a_node_has_what_is_allocatable_and_pods_on_it_are_told_apart() -> None:
    pods = [
        pod("job-1", labels={**MANAGED}),
        pod("job-1", "elsewhere", labels={**MANAGED}),
        pod("web", labels={"app": "web"}),
        pod("pending", on=None),
    ]
    found = machines([node()], pods, job())
    assert found.nodes[0].total == found.nodes[0].free == Amounts(3920, 16 * GIB, 2)
    asked = Amounts(1000, GIB, 0)
    assert list(found.occupants) == [Occupant("job-1", "n1", asked), *[Occupant(None, "n1", asked)] * 2]


def test_nodes_that_no_job_may_be_put_on_are_left_out() -> None:
    nodes = [
        node("cordoned", unschedulable=True),
        node("down", ready="Unknown"),
        node("theirs", taints=[taint("team", "other")]),
        node("arm", labels={"arch": "arm"}),
        node("ours", taints=[taint("team", "ours"), taint("soft", effect="PreferNoSchedule")], labels={"arch": "x86"}),
    ]
    tolerated = {"key": "team", "operator": "Equal", "value": "ours", "effect": "NoSchedule"}
    manifest = job(tolerations=[tolerated], nodeSelector={"arch": "x86", "learnloop/node-pool": "this job's"})
    assert [one.name for one in machines(nodes, [], manifest).nodes] == ["ours"]


@pytest.mark.parametrize(
    ("toleration", "there"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "team", "operator": "Exists"}, True),
        ({"key": "team", "value": "a"}, True),
        ({"key": "team", "value": "b"}, False),
        ({"key": "team", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_are_read_as_the_scheduler_does(toleration: dict, there: bool) -> None:
    found = machines([node(taints=[taint("team", "a")])], [], job(tolerations=[toleration]))
    assert bool(found.nodes) is there


def test_the_taints_of_pools_and_gpus_are_for_the_jobs_that_ask_for_them() -> None:
    pool = {"learnloop/node-pool": "fast"}
    nodes = [
        node("plain"),
        node("fast", labels=pool, taints=[taint("learnloop/node-pool", "fast")]),
        node("shared", labels=pool),
        node("gpus", taints=[taint("nvidia.com/gpu", "present")]),
    ]
    a_gpu_job = job(tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}])
    for manifest in (job(), a_gpu_job):
        found = machines(nodes, [], manifest).nodes
        assert [(one.name, one.pool, one.dedicated, one.gpu_only) for one in found] == [
            ("plain", None, False, False),
            ("fast", "fast", True, False),
            ("shared", "fast", False, False),
            ("gpus", None, False, True),
        ]
