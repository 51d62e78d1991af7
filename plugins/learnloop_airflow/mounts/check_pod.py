"""A pod that makes claims ready for a job, and tries them; it also has those bound that wait for a first pod."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from learnloop.errors import JobFailed
from learnloop.jobs.namespace import kubernetes_name
from learnloop.mounts.made import Prepared, Scope
from learnloop_airflow.mounts.claims import Claims
from learnloop_airflow.pods import state
from learnloop_airflow.pods.asking import Refused, asked
from learnloop_airflow.pods.names import JOB, MANAGED, TASK, USER, Owner, user_label

POLL_SECONDS = 0.5
ROOT = "/mounts"
_RESOURCES = {"cpu": "50m", "memory": "128Mi"}


CHECK = {**MANAGED, "app.kubernetes.io/component": "mount-check"}
CHECK_SELECTOR = ",".join(f"{name}={value}" for name, value in CHECK.items())


def remove_left(claims: Claims, run_goes: Callable[[str, str], bool]) -> list[str]:
    """Remove check pods of runs that have ended, which a worker that was killed has left; their names."""
    removed = []
    for pod in asked(claims.api.list_namespaced_pod, claims.namespace, label_selector=CHECK_SELECTOR).items:
        owner = Owner.read(pod)
        if owner is not None and not run_goes(owner.dag_id, owner.run_id):
            asked(claims.api.delete_namespaced_pod, pod.metadata.name, claims.namespace)
            removed.append(pod.metadata.name)
    return removed


class CheckPod:
    """One task's check of the claims it has prepared.

    Args:
        template: the pod template: where pods may run, and as whom.
        say: is told what is waited for, once each.
    """

    def __init__(
        self,
        claims: Claims,
        template: dict[str, Any],
        image: str,
        owner: Owner,
        scope: Scope,
        say: Callable[[str], None],
    ) -> None:
        self.claims = claims
        self.template = template
        self.image = image
        self.owner = owner
        self.scope = scope
        self.say = say
        self._held = ""
        self.name = kubernetes_name("mounts", owner.dag_id, owner.run_id, owner.task_id, str(owner.map_index))

    def run(self, made: Sequence[Prepared], deadline: float) -> None:
        """Check ``made``, until ``deadline`` (of `time.monotonic`) at most.

        Raises:
            JobFailed: a claim is not bound in time, or cannot be used; with the reason.
        """
        self.remove()
        said = ""
        try:
            while (pod := self._pod(made)) is None or not state.ended(pod):
                reason = self._waits_for(made, pod)
                if pod is not None and (blocked := state.blocked(pod)) is not None:
                    raise JobFailed(f"the mounts cannot be checked: {blocked}")
                if reason != said:
                    self.say(reason)
                    said = reason
                if time.monotonic() > deadline:
                    raise JobFailed(f"the mounts are not usable in time: {reason}")
                time.sleep(POLL_SECONDS)
            self._judge(pod)
        finally:
            self.remove()

    def remove(self) -> None:
        from kubernetes.client import V1DeleteOptions

        now = V1DeleteOptions(grace_period_seconds=0)
        asked(self.claims.api.delete_namespaced_pod, self.name, self.claims.namespace, body=now)

    def _pod(self, made: Sequence[Prepared]) -> Any:
        """The pod, made if there is none; None while one is being removed."""
        api, namespace = self.claims.api, self.claims.namespace
        pod = asked(api.read_namespaced_pod, self.name, namespace)
        self._held = "a pod of an earlier try is being removed"
        if pod is None:
            try:
                return asked(api.create_namespaced_pod, namespace, self._manifest(made))
            except Refused as error:
                if (held := state.held_back(str(error))) is None:
                    raise
                self._held = held
                return None
        return None if pod.metadata.deletion_timestamp is not None else pod

    def _waits_for(self, made: Sequence[Prepared], pod: Any) -> str:
        phases = self.claims.phases([one.place for one in made])
        unbound = [
            f"{one.mount.name} (claim {one.place} of class {one.storage_class} is {phases[one.place]})"
            for one in made
            if phases[one.place] != "Bound"
        ]
        waits = state.waiting(pod) if pod is not None else self._held
        return f"waiting for {', '.join(unbound)}: {waits}" if unbound else f"checking the mounts: {waits or 'it runs'}"

    def _judge(self, pod: Any) -> None:
        log = asked(
            self.claims.api.read_namespaced_pod_log,
            self.name,
            self.claims.namespace,
            container=JOB,
            _preload_content=False,
        )
        lines = [] if log is None else bytes(log.data).decode(errors="replace").splitlines()
        if pod.status.phase != "Succeeded":
            raise JobFailed(
                "a mount is bound and not usable: "
                + (lines[-1] if lines else state.failure(pod, 0))
                + "; where it belongs to another user, its class must let fsGroup change that"
            )
        for line in lines:
            found = json.loads(line)
            self.say(f"mount {found['name']} is usable: {found['free'] / 2**30:.1f} GiB are free")

    def _manifest(self, made: Sequence[Prepared]) -> dict[str, Any]:
        from kubernetes.client import ApiClient

        from learnloop.jobs.mount_check import CHECKS, Check
        from learnloop_airflow.pods.security import locked_down, pod_security, user_of

        plain = ApiClient().sanitize_for_serialization
        user = user_of(self.template)
        security = pod_security(self.template, user)
        # The claims' folders are ours to hand to the user that jobs run as; nothing else is in this pod.
        security.fs_group = security.fs_group or security.run_as_group
        places = {one.place: f"{ROOT}/{number}" for number, one in enumerate(made)}
        checks = [
            Check(
                name=one.mount.name,
                path=places[one.place],
                key=one.record.key if one.record else None,
                # What is ours is laid out also where its jobs only read.
                only_read=one.mount.only_read,
            ).model_dump()
            for one in made
        ]
        kept = (
            "nodeSelector",
            "tolerations",
            "affinity",
            "imagePullSecrets",
            "serviceAccountName",
            "priorityClassName",
        )
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "labels": {**CHECK, USER: user_label(self.scope.user)},
                "annotations": {TASK: self.owner.written()},
            },
            "spec": {
                **{name: self.template["spec"][name] for name in kept if name in self.template["spec"]},
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "securityContext": plain(security),
                "containers": [
                    {
                        "name": JOB,
                        "image": self.image,
                        "command": ["python", "-m", "learnloop.jobs.mount_check"],
                        "env": [{"name": CHECKS, "value": json.dumps(checks).replace("$", "$$")}],
                        "resources": {"requests": _RESOURCES, "limits": _RESOURCES},
                        "securityContext": plain(locked_down()),
                        "volumeMounts": [
                            {
                                "name": f"m{number}",
                                "mountPath": places[one.place],
                                "readOnly": one.record is None and one.mount.only_read,
                            }
                            for number, one in enumerate(made)
                        ],
                    }
                ],
                "volumes": [
                    {"name": f"m{number}", "persistentVolumeClaim": {"claimName": one.place}}
                    for number, one in enumerate(made)
                ],
            },
        }
