"""What a pod's state means: pure functions of what the API says, for the synchronous and the asynchronous client."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from learnloop.jobs.stager import ALREADY_DONE
from learnloop_airflow.pods.names import JOB, STAGE

ENDED = ("Succeeded", "Failed")
# Why the kubelet or a controller ends a pod for reasons that are not the job's.
DISRUPTED = {
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "NodeShutdown",
    "Preempting",
    "Shutdown",
    "Terminated",
    "UnexpectedAdmissionError",
}
# Waits that no time ends: what is missing must be put right first.
BROKEN = {"CreateContainerConfigError", "CreateContainerError", "InvalidImageName", "ErrImageNeverPull"}


def ended(pod: Any) -> bool:
    return pod.status is not None and pod.status.phase in ENDED


def already_done(pod: Any) -> bool:
    """Whether the stager found that the job has its result."""
    done = _terminated(pod, STAGE)
    return done is not None and done.exit_code == ALREADY_DONE


def disruption(pod: Any) -> str | None:
    """Why a pod ended through no fault of its job, such as an eviction; None when it did not."""
    if pod.status.phase != "Failed":
        return None
    reason = pod.status.reason or ""
    for condition in pod.status.conditions or []:  # Kubernetes 1.26 and later say so outright
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return f"{condition.reason or 'DisruptionTarget'}: {condition.message or ''}".strip(": ")
    if reason in DISRUPTED or reason.startswith("OutOf"):
        return f"{reason}: {pod.status.message or ''}".strip(": ")
    return None


def out_of_memory(pod: Any) -> bool:
    done = _terminated(pod, JOB)
    return done is not None and done.reason == "OOMKilled"


def failure(pod: Any, timeout_seconds: float) -> str:
    """How a pod in phase Failed ended, as a sentence about the job."""
    if pod.status.reason == "DeadlineExceeded":
        return f"the job ran longer than its timeout of {timeout_seconds:g} s and was killed"
    staged, done = _terminated(pod, STAGE), _terminated(pod, JOB)
    if staged is not None and staged.exit_code != 0:
        return f"the job's inputs could not be staged (exit code {staged.exit_code})"
    if done is None:
        return f"the job's pod failed: {pod.status.reason or 'no reason given'} {pod.status.message or ''}".rstrip()
    if done.reason in ("ContainerCannotRun", "StartError"):
        return f"the job could not be started: {done.message or done.reason}"
    if done.reason == "OOMKilled":
        return "the job ran out of memory and was killed"
    if done.exit_code > 128:
        return f"the job was ended by signal {done.exit_code - 128}"
    return f"the job ended with exit code {done.exit_code}"


def blocked(pod: Any) -> str | None:
    """Why a pod will never start as it is: no such image, or a secret that is missing; None when it may."""
    from airflow.providers.cncf.kubernetes.utils.pod_manager import detect_pod_terminate_early_issues

    states = _statuses(pod)
    # The provider looks at the main containers only; the stager's image may be the one that is missing.
    problem = detect_pod_terminate_early_issues(SimpleNamespace(status=SimpleNamespace(container_statuses=states)))
    if problem:
        return problem.replace("\n", ": ")
    for state in states:
        waiting = state.state.waiting if state.state else None
        if waiting is not None and waiting.reason in BROKEN:
            return f"container {state.name} cannot be started: {waiting.reason}: {waiting.message or ''}"
    return None


def waiting(pod: Any) -> str | None:
    """What a pod waits for before its job begins; None when the job runs."""
    if pod.status is None or pod.status.phase != "Pending":
        return None
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"not scheduled yet: {condition.message or condition.reason or 'no reason given'}"
    for state in _statuses(pod):
        held = state.state.waiting if state.state else None
        if held is not None and held.reason not in (None, "PodInitializing", "ContainerCreating"):
            return f"container {state.name}: {held.reason}: {held.message or ''}".rstrip(": ")
    if running(pod, STAGE):
        return "its inputs are being staged"
    return "its containers are being made"


def running(pod: Any, container: str) -> bool:
    state = _state(pod, container)
    return state is not None and state.running is not None


def has_begun(pod: Any, container: str) -> bool:
    """Whether ``container`` has a log."""
    state = _state(pod, container)
    return state is not None and (state.running is not None or state.terminated is not None)


def ran_for(pod: Any, container: str) -> float | None:
    """Seconds from the start to the end of ``container``; None for one that did not run, or still does."""
    ended = _terminated(pod, container)
    if ended is None or ended.started_at is None or ended.finished_at is None:
        return None
    return float((ended.finished_at - ended.started_at).total_seconds())


def refusal(body: str | bytes | None) -> str:
    """The message in the API server's answer."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or "no reason given"


def held_back(refused: str) -> str | None:
    """Why a pod may not be made for now, by the API server's refusal of it; None when no time will help."""
    if "exceeded quota" in refused:
        return f"waiting for room in the namespace's quota: {refused}"
    if 'serviceaccount "default" not found' in refused:
        return f"the namespace is not ready yet: {refused}"  # Kubernetes makes it, a moment later
    return None


def _statuses(pod: Any) -> list[Any]:
    if pod.status is None:
        return []
    return [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]


def _state(pod: Any, container: str) -> Any:
    return next((status.state for status in _statuses(pod) if status.name == container), None)


def _terminated(pod: Any, container: str) -> Any:
    state = _state(pod, container)
    return state.terminated if state is not None else None
