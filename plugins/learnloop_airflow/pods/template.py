"""The pod template: what a cluster's operator says of every job's pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from learnloop.errors import InvalidInput

VOLUMES = {
    "namespaces": "what LEARNLOOP_NAMESPACES names on the workers: people's results and models",
    "store": "what LEARNLOOP_STORE names: the object store",
    "models": "what LEARNLOOP_MODELS names: the files of registered models",
}


def load_template(path: str) -> dict[str, Any]:
    """Read a pod template.

    Raises:
        InvalidInput: there is none, it is no pod, or one of :data:`VOLUMES` is not in it.
    """
    import yaml

    if not path:
        raise InvalidInput(
            "jobs are to run on Kubernetes, but LEARNLOOP_POD_TEMPLATE names no pod template;"
            " begin with deploy/kubernetes/pod-template.yaml"
        )
    try:
        template = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"the pod template {path} (LEARNLOOP_POD_TEMPLATE) cannot be read: {error}") from error
    if not isinstance(template, dict) or template.get("kind") != "Pod" or not isinstance(template.get("spec"), dict):
        raise InvalidInput(f"the pod template {path} is no Pod: it needs apiVersion: v1, kind: Pod and a spec")
    named = {volume.get("name") for volume in template["spec"].get("volumes") or []}
    missing = [f"volume {name!r}: {what}" for name, what in VOLUMES.items() if name not in named]
    if missing:
        raise InvalidInput(f"the pod template {path} lacks volumes that every job needs", missing)
    return template
