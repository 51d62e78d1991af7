"""What the states of pods mean, for those that a test cluster does not produce at will."""

import pytest
from kubernetes.client import models as k8s

from learnloop_airflow.pods import state
from learnloop_airflow.pods.follow import lines_after


def pod(phase: str, *, job: dict | None = None, stage: dict | None = None, **status: object) -> k8s.V1Pod:
    def statuses(name: str, fields: dict | None) -> list[k8s.V1ContainerStatus] | None:
        if fields is None:
            return None
        kind = "waiting" if "exit_code" not in fields else "terminated"
        made = k8s.V1ContainerStateWaiting if kind == "waiting" else k8s.V1ContainerStateTerminated
        held = k8s.V1ContainerState(**{kind: made(**fields)})
        return [k8s.V1ContainerStatus(name=name, image="i", image_id="i", ready=False, restart_count=0, state=held)]

    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="p"),
        status=k8s.V1PodStatus(
            phase=phase,
            container_statuses=statuses("job", job),
            init_container_statuses=statuses("stage", stage),
            **status,
        ),
    )


@pytest.mark.parametrize("reason", ["Evicted", "NodeLost", "Shutdown", "OutOfcpu", "Preempting"])
def test_what_is_no_fault_of_the_job(reason: str) -> None:
    assert state.disruption(pod("Failed", reason=reason, message="why")) == f"{reason}: why"


def test_newer_clusters_say_so_by_a_condition() -> None:
    condition = k8s.V1PodCondition(type="DisruptionTarget", status="True", reason="EvictionByEvictionAPI")
    found = pod("Failed", job={"exit_code": 143, "reason": "Error"}, conditions=[condition])
    assert state.disruption(found) == "EvictionByEvictionAPI"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"job": {"exit_code": 3, "reason": "Error"}}, "the job ended with exit code 3"),
        ({"job": {"exit_code": 137, "reason": "Error"}}, "the job was ended by signal 9"),
        ({"job": {"exit_code": 137, "reason": "OOMKilled"}}, "the job ran out of memory and was killed"),
        ({"stage": {"exit_code": 1, "reason": "Error"}}, "the job's inputs could not be staged (exit code 1)"),
        ({"reason": "DeadlineExceeded"}, "the job ran longer than its timeout of 60 s and was killed"),
        ({"reason": "Unheard", "message": "of"}, "the job's pod failed: Unheard of"),
        (
            {"job": {"exit_code": 128, "reason": "StartError", "message": "no such file"}},
            "the job could not be started: no such file",
        ),
    ],
)
def test_how_a_pod_failed(fields: dict, expected: str) -> None:
    found = pod("Failed", **fields)
    assert state.failure(found, 60) == expected
    assert state.disruption(found) is None


def test_a_busy_registry_is_waited_for_and_a_missing_image_is_not() -> None:
    busy = {"reason": "ErrImagePull", "message": "toomanyrequests: rate limit exceeded"}
    assert state.blocked(pod("Pending", job=busy)) is None
    assert state.waiting(pod("Pending", job=busy)) == f"container job: ErrImagePull: {busy['message']}"
    missing = {"reason": "ErrImagePull", "message": "manifest unknown"}
    assert "manifest unknown" in (state.blocked(pod("Pending", stage=missing)) or "")


def test_no_line_of_a_log_is_passed_on_twice() -> None:
    text = "2026-01-02T03:04:05.1Z one\n2026-01-02T03:04:05.09Z zero\n2026-01-02T03:04:05.100000001Z two\n"
    assert [line for _, line in lines_after(text, None)] == ["one", "zero", "two"]
    assert [line for _, line in lines_after(text, "2026-01-02T03:04:05.1Z")] == ["two"]
    assert state.refusal(b'{"message": "no"}') == "no"
    assert state.refusal("plain") == "plain"
    assert state.refusal(None) == "no reason given"
