"""The template of served models' pods: what a cluster's operator says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.errors import InvalidInput

CONTAINER = "model"
VOLUME = "models"
MAX_REPLICAS, TARGET_CPU = "learnloop/max-replicas", "learnloop/target-cpu-percent"


@dataclass(frozen=True)
class Template:
    """``pod`` is the pod's spec as it was written; ``container`` the one in it named `CONTAINER`.

    ``max_replicas`` is None where nothing scales by itself.
    """

    namespace: str
    replicas: int
    max_replicas: int | None
    target_cpu: int
    pod: dict[str, Any]
    container: dict[str, Any]


def load_template(path: str) -> Template:
    """Read the file.

    Raises:
        InvalidInput: there is none, or it is not what is needed; all that is wrong is told.
    """
    import yaml

    if not path:
        raise InvalidInput(
            "models are to be served on Kubernetes, but LEARNLOOP_SERVING_TEMPLATE names no template;"
            " begin with deploy/kubernetes/serving-template.yaml"
        )
    try:
        read = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"the template {path} (LEARNLOOP_SERVING_TEMPLATE) cannot be read: {error}") from error
    return parse_template(read, path)


def parse_template(read: Any, path: str) -> Template:
    """Check what was read; raises as `load_template`."""
    try:
        about, spec = read["metadata"], read["spec"]
        pod = spec["template"]["spec"]
        containers = {one["name"]: one for one in pod["containers"]}
        volumes = {one["name"] for one in pod.get("volumes") or []}
        said = about.get("annotations") or {}
        namespace, kind = about.get("namespace"), read.get("kind")
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"the template {path} is no Deployment: it lacks {error}") from error
    wrong = []
    if kind != "Deployment":
        wrong.append(f"kind is {kind!r}, and must be Deployment")
    if not namespace:
        wrong.append("metadata.namespace is missing: models are served there and nowhere else")
    if CONTAINER not in containers or not containers[CONTAINER].get("image"):
        wrong.append(f"a container named {CONTAINER!r} with an image is missing")
    if VOLUME not in volumes:
        wrong.append(f"volume {VOLUME!r} is missing: what LEARNLOOP_MODELS names, the files of registered models")
    if (pod.get("securityContext") or {}).get("runAsUser") == 0:
        wrong.append("securityContext.runAsUser is 0: model servers do not run as root")
    replicas = _number(spec.get("replicas", 2), "spec.replicas", wrong)
    most = _number(said[MAX_REPLICAS], MAX_REPLICAS, wrong) if MAX_REPLICAS in said else None
    target = _number(said.get(TARGET_CPU, 70), TARGET_CPU, wrong)
    if most is not None and most < replicas:
        wrong.append(f"{MAX_REPLICAS} is {most}, less than spec.replicas, which is {replicas}")
    if wrong:
        raise InvalidInput(f"the template {path} (LEARNLOOP_SERVING_TEMPLATE) cannot be used", wrong)
    return Template(namespace, replicas, most, target, pod, containers[CONTAINER])


def _number(given: Any, name: str, wrong: list[str]) -> int:
    if str(given).isdecimal() and int(given) >= 1:
        return int(given)
    wrong.append(f"{name} is {given!r}, and must be a whole number above 0")
    return 1
