"""A look at the pods of a canary, and of what it stands beside, by way of the API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from learnloop.serving.cluster.judging import read_counts
from learnloop.serving.cluster.manifests import PORT
from learnloop.serving.cluster.rollout import refused
from learnloop.serving.cluster.units import CANARY, STABLE, VERSION
from learnloop.serving.looking import Look

if TYPE_CHECKING:
    from learnloop.serving.cluster.objects import Objects
    from learnloop.serving.cluster.units import Unit

MOST_BYTES = 1 << 20


def look_at_pods(objects: Objects, unit: Unit) -> Look:
    """What each pod of ``unit`` has counted. One that does not answer, not yet or not any more, is left out.

    Raises:
        ApiAway, PermissionDenied: as the API server answers.
    """
    from learnloop.serving.cluster.objects import ApiAway

    look = Look(own=True)
    for track in (STABLE, CANARY):
        for pod in objects.all_of("v1", "Pod", labels_of(unit, track)):
            if pod["metadata"].get("deletionTimestamp") is not None:
                continue
            if track == CANARY and refused(pod) is None:  # a refusal is told by `ServedModels.refusals`
                look.ended += ends(pod)
            if not can_be_asked(pod):
                continue
            name = pod["metadata"]["name"]
            try:
                answer = objects.through(name, PORT, "/metrics", query={}, headers={}, most=MOST_BYTES)
            except ApiAway:
                continue  # this pod is; whether the API server is, the next list tells
            if answer is not None:
                look.counts[track][name] = read_counts(answer.decode())
    return look


def labels_of(unit: Unit, track: str) -> dict[str, str]:
    """Which pods are of a track's version."""
    return {**unit.labels(track), VERSION: str(unit.canary if track == CANARY else unit.version)}


def can_be_asked(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has an address yet: else the API server refuses to pass a request on to it."""
    return bool(pod.get("status", {}).get("podIP"))


def ends(pod: Mapping[str, Any]) -> list[str]:
    """How containers of a pod ended by themselves."""
    found = []
    for status in pod.get("status", {}).get("containerStatuses") or []:
        states = ((status.get(of) or {}).get("terminated") for of in ("lastState", "state"))
        last = next((state for state in states if state), None)
        if last is not None:
            how = f"exit code {last['exitCode']} ({last.get('reason')}): {last.get('message') or ''}"
            found.append(how.rstrip(": "))
    return found
