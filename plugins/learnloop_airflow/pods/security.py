"""As whom containers of ours run, and what they may not do."""

from __future__ import annotations

import os
from typing import Any

from kubernetes.client import models as k8s

from learnloop.errors import InvalidInput

NOBODY = 65532


def user_of(template: dict[str, Any]) -> int:
    """The user id that jobs run as: the template's, else the worker's own, so that each can write what the other reads."""
    asked = (template["spec"].get("securityContext") or {}).get("runAsUser")
    if asked == 0:
        raise InvalidInput(
            "the pod template has jobs run as root (runAsUser: 0); give them another user, or leave it out"
        )
    return int(asked or os.getuid() or NOBODY)


def pod_security(template: dict[str, Any], user: int) -> k8s.V1PodSecurityContext:
    given = template["spec"].get("securityContext") or {}
    return k8s.V1PodSecurityContext(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=int(given.get("runAsGroup") or user),
        fs_group=given.get("fsGroup"),
        supplemental_groups=given.get("supplementalGroups"),
        seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
    )


def locked_down() -> k8s.V1SecurityContext:
    return k8s.V1SecurityContext(
        run_as_non_root=True,
        read_only_root_filesystem=True,
        allow_privilege_escalation=False,
        capabilities=k8s.V1Capabilities(drop=["ALL"]),
    )
