"""The same `JobSpec` as a pod. Its own issue tests this on a cluster; what is here is the wiring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learnloop.jobs.spec import JobSpec

PLACES = {"DATA_DIR": "data", "CACHE_DIR": "tmp", "RESULTS_DIR": "results", "MODELS_DIR": "models"}


def pod_arguments(spec: JobSpec, default_image: str) -> dict[str, Any]:
    """Arguments of a ``KubernetesPodOperator`` that runs ``spec``: image, command, environment, resources, labels.

    The pod's name comes from the user and the idempotency key, so that a second pod for the same job is noticed.
    """
    from kubernetes.client import models as k8s

    from learnloop.jobs.namespace import kubernetes_name, namespace_of, user_folder

    user = user_folder(spec.user)
    places = {name: str(namespace_of(Path("/"), kind, spec.user)) for name, kind in PLACES.items()}
    amounts = {"cpu": str(spec.resources.cpu), "memory": spec.resources.memory}
    if spec.resources.gpu:
        amounts["nvidia.com/gpu"] = str(spec.resources.gpu)
    command = list(spec.command) or ["python", "-m", str(spec.module)]
    return {
        "name": kubernetes_name("job", spec.user, spec.key),
        "image": spec.image or default_image,
        "cmds": command[:1],
        "arguments": command[1:],
        "env_vars": {**spec.env, **places},
        "labels": {"app.kubernetes.io/managed-by": "learnloop", "learnloop/user": user},
        "container_resources": k8s.V1ResourceRequirements(requests=amounts, limits=amounts),
        "node_selector": {"learnloop/node-pool": spec.node_pool} if spec.node_pool else None,
        "automount_service_account_token": False,
        "deferrable": True,
    }
