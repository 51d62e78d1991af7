"""Pods that nobody waits for any more: what the fast paths missed, such as a task ended while the triggerer was down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from learnloop_airflow.pods.names import SELECTOR, Owner

LIVE = {"queued", "scheduled", "running", "restarting", "deferred", "up_for_reschedule"}
"""States of a task in which a pod of its is waited for. One that is to be retried begins anew, from the checkpoint."""


@dataclass
class Sweep:
    """``removed``: pods without a live task. ``unknown``: pods labelled as ours that do not say whose they are; left."""

    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def sweep(api: Any, namespace: str, state_of: Callable[[Owner], str | None]) -> Sweep:
    """Remove the jobs' pods in ``namespace`` whose task is not live.

    Args:
        api: the cluster's ``CoreV1Api``.
        state_of: a task's state in Airflow; None for one that is not there (any more).
    """
    from kubernetes.client import V1DeleteOptions, V1Preconditions
    from kubernetes.client.exceptions import ApiException

    done = Sweep()
    # First the pods, then the states: a pod is made while its task is deferred, so none is too new to be known.
    for pod in api.list_namespaced_pod(namespace, label_selector=SELECTOR).items:
        name, owner = pod.metadata.name, Owner.read(pod)
        if owner is None:
            done.unknown.append(name)
        elif state_of(owner) in LIVE:
            done.kept.append(name)
        else:
            only = V1DeleteOptions(preconditions=V1Preconditions(uid=pod.metadata.uid))
            try:
                api.delete_namespaced_pod(name, namespace, body=only)
            except ApiException as error:
                if error.status not in (404, 409):  # its task has removed it just now
                    raise
            done.removed.append(name)
    return done
