"""How far a rollout is, and why it does not go on: pure functions of what the API says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from learnloop.serving.pinned import REFUSED

Object = dict[str, Any]
# Waits that no time ends: what is missing must be put right first.
BROKEN = {"CreateContainerConfigError", "CreateContainerError", "InvalidImageName", "ErrImageNeverPull"}


@dataclass(frozen=True)
class Progress:
    """``done``: every pod is of the new version and ready. ``refused``: it never will be, and why. ``waits``: what for."""

    done: bool = False
    refused: str | None = None
    waits: str = ""


def progress(deployment: Object, pods: Sequence[Object]) -> Progress:
    """How the newest generation of a Deployment does.

    Args:
        pods: those of the new version.
    """
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    seen = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"]["generation"])
    counts = [int(status.get(name, 0)) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    if seen and counts == [wanted, wanted, wanted]:
        return Progress(done=True)
    going = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    for pod in going:
        if (why := refused(pod)) is not None:
            return Progress(refused=why)
    reasons = [reason for pod in going if (reason := _waits(pod)) is not None]
    if seen:
        for condition in status.get("conditions") or []:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                reasons.append(f"no pod can be made: {condition.get('message', '')}")
    ready = f"{counts[2]} of {wanted} pods are ready, {counts[1]} of them new"
    return Progress(waits="; ".join(dict.fromkeys([ready, *reasons])))


def refused(pod: Object) -> str | None:
    """Why a pod will never serve; None: it may."""
    for status in _statuses(pod):
        for state in (status.get("state") or {}, status.get("lastState") or {}):
            ended = state.get("terminated") or {}
            if ended.get("exitCode") == REFUSED:
                return str(ended.get("message") or "the model was refused; the pod's log says why").strip()
        held = (status.get("state") or {}).get("waiting") or {}
        if held.get("reason") in BROKEN:
            return f"container {status['name']} cannot be started: {held['reason']}: {held.get('message', '')}"
    return None


def _waits(pod: Object) -> str | None:
    """What a pod that is not ready waits for; None when it is ready."""
    conditions = {one["type"]: one for one in (pod.get("status") or {}).get("conditions") or []}
    if (conditions.get("Ready") or {}).get("status") == "True":
        return None
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return f"not scheduled: {scheduled.get('message') or scheduled.get('reason') or 'no reason given'}"
    for status in _statuses(pod):
        state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated") or {}
        held = state.get("waiting") or {}
        if last:
            said = last.get("message") or last.get("reason") or ""
            return f"container {status['name']} ended with exit code {last.get('exitCode')}: {said}".strip(": ")
        if held.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return f"container {status['name']}: {held['reason']}: {held.get('message', '')}".strip(": ")
        if "running" in state:
            return "the model is being loaded"
    return "containers are being made"


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
