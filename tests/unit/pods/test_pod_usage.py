"""What a pod used, as a node counts it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from learnloop.jobs.usage import Usage
from learnloop_airflow.pods.state import ran_for
from learnloop_airflow.pods.usage import Counted, Seen, _cores_of, counted_by_kubelet

MIB = 2**20


def summary(**container: Any) -> dict[str, Any]:
    """A kubelet's answer at /stats/summary, as the test cluster's gave it."""
    other = {"podRef": {"name": "other", "uid": "v"}, "containers": [{"name": "job", "memory": {"workingSetBytes": 1}}]}
    mine = {"podRef": {"name": "job-x", "uid": "u"}, "containers": [{"name": "stage"}, {"name": "job", **container}]}
    return {"node": {}, "pods": [other, mine]}


def test_a_kubelets_summary() -> None:
    counted = summary(cpu={"usageNanoCores": 750_000_000}, memory={"workingSetBytes": 300 * MIB})
    assert counted_by_kubelet(counted, "u") == Counted(300 * MIB, 0.75)
    assert counted_by_kubelet(summary(memory={"workingSetBytes": 5}), "u") == Counted(5, 0.0)
    assert counted_by_kubelet(summary(), "u") is None
    assert counted_by_kubelet(counted, "w") is None


@pytest.mark.parametrize(
    ("said", "cores"), [("250m", 0.25), ("1500000n", 0.0015), ("20u", 0.00002), ("2", 2), ("0", 0)]
)
def test_kubernetes_amounts_of_processors(said: str, cores: float) -> None:
    assert _cores_of(said) == pytest.approx(cores)


def test_of_several_looks_the_most_memory_and_the_mean_of_processors() -> None:
    seen = Seen()
    assert seen.usage(40) == Usage(40)
    for memory, cpus in ((100, 0.5), (300, 1.0), (200, 0.0)):
        seen.add(Counted(memory * MIB, cpus))
    used = seen.usage(40)
    assert (used.memory_bytes, used.cpus) == (300 * MIB, 0.5)


def test_how_long_a_container_ran() -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    ended = SimpleNamespace(started_at=begun, finished_at=begun + timedelta(seconds=90))
    states = [SimpleNamespace(name="job", state=SimpleNamespace(terminated=ended, running=None))]
    pod = SimpleNamespace(status=SimpleNamespace(init_container_statuses=None, container_statuses=states))
    assert ran_for(pod, "job") == 90
    assert ran_for(pod, "stage") is None
    states[0].state.terminated = None
    assert ran_for(pod, "job") is None
