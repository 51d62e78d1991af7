"""The objects of one unit, as the API server takes them: pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from learnloop.serving.cluster.template import CONTAINER, Template
from learnloop.serving.cluster.units import (
    CANARY,
    MADE_FOR,
    MODEL,
    STABLE,
    VERSION,
    Unit,
    Wanted,
    made_for,
)
from learnloop.serving.config import FINISH_SECONDS
from learnloop.serving.noting import LiveRules
from learnloop.serving.pinned import DRAIN_SECONDS
from learnloop.serving.targets import DEFAULT_TAG

PORT = 8090
NOBODY = 65532
GRACE_SECONDS = int(DRAIN_SECONDS) + FINISH_SECONDS + 5
"""How long a pod may take to end: it drains, answers what it has begun, and has a little time besides."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Noting:
    """What pods note of requests, and the SHA-256 of the token of who may read that (`learnloop.serving.handover`)."""

    rules: LiveRules
    reader: str

    def arguments(self) -> list[str]:
        return ["--live", json.dumps(asdict(self.rules), sort_keys=True), "--reader", self.reader]


@dataclass(frozen=True)
class Versions:
    """Which versions of two kinds the API server has."""

    autoscaling: str = "autoscaling/v2"
    policy: str = "policy/v1"


def manifests(
    unit: Unit, template: Template, folder_of: dict[int, str], versions: Versions, noting: Noting | None = None
) -> list[Manifest]:
    """What makes ``unit`` be served: Service, Deployment, PodDisruptionBudget, with more where asked for.

    Args:
        folder_of: where each version's folder is below the volume of models.
        noting: what is noted of requests; None: nothing.

    Raises:
        InvalidInput: a canary is to have more than Kubernetes can give it.
    """
    made = [_service(unit, unit.labels(), template)]
    # Where pods are scaled by use, how many there are is not ours to say.
    replicas = None if template.max_replicas else template.replicas
    made.append(_deployment(unit, STABLE, unit.version, replicas, template, folder_of[unit.version], noting))
    if unit.canary is not None:
        beside = unit.canaries(template.replicas)
        made.append(_deployment(unit, CANARY, unit.canary, beside, template, folder_of[unit.canary], noting))
    made.append(_disruption_budget(unit, template, versions))
    if template.max_replicas:
        made.append(_autoscaler(unit, template, versions))
    return made


def current_service(wanted: Wanted, template: Template) -> Manifest | None:
    """The Service ``{model}-current``: to the pods of another alias, or to its own; None where nothing is current."""
    if wanted.current is None or wanted.leads_to is None:
        return None
    if wanted.leads_to == wanted.current:
        return _service(wanted.current, wanted.current.labels(), template)
    return _service(wanted.current, wanted.leads_to.labels(STABLE), template)


def _service(unit: Unit, selector: dict[str, str], template: Template) -> Manifest:
    ports = [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "selector": selector, "ports": ports}
    return _object("v1", "Service", unit.name, unit, template, unit.labels(), spec)


def _deployment(
    unit: Unit, track: str, version: int, replicas: int | None, template: Template, folder: str, noting: Noting | None
) -> Manifest:
    labels = unit.labels(track)
    spec: Manifest = {
        "selector": {"matchLabels": labels},
        # One more than there are to be, and never one less.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "revisionHistoryLimit": 2,
        "template": {
            "metadata": {"labels": {**labels, VERSION: str(version)}},
            "spec": _pod(unit, labels, version, template, folder, noting),
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    name = unit.name if track == STABLE else f"{unit.name}-{CANARY}"
    return _object("apps/v1", "Deployment", name, unit, template, {**labels, VERSION: str(version)}, spec)


def _pod(
    unit: Unit, labels: dict[str, str], version: int, template: Template, folder: str, noting: Noting | None
) -> Manifest:
    given = template.pod
    security = given.get("securityContext") or {}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    others = [one for one in given["containers"] if one["name"] != CONTAINER]
    return {
        **given,
        "containers": [_container(unit, version, template, folder, noting), *others],
        "volumes": [*given["volumes"], {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
        "securityContext": {
            **security,
            "runAsNonRoot": True,
            "runAsUser": security.get("runAsUser", NOBODY),
            "runAsGroup": security.get("runAsGroup", security.get("runAsUser", NOBODY)),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        # Else a Service named learnloop-... would look like settings of ours in the pod's environment.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": max(GRACE_SECONDS, int(given.get("terminationGracePeriodSeconds", 0))),
        "topologySpreadConstraints": given.get("topologySpreadConstraints") or [spread],
    }


def _container(unit: Unit, version: int, template: Template, folder: str, noting: Noting | None) -> Manifest:
    aliases = dict.fromkeys((unit.alias, DEFAULT_TAG))
    arguments = ["--name", unit.model, "--version", str(version), "--folder", "/model"]
    arguments += [word for alias in aliases for word in ("--alias", alias)]
    arguments += ["--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - of a pod
    arguments += noting.arguments() if noting is not None else []
    return {
        **template.container,
        "command": ["python", "-m", "learnloop.serving.pinned"],
        "args": arguments,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": _probe("/v2/health/ready", every=2, failures=3),
        "livenessProbe": _probe("/v2/health/live", every=10, failures=6),
        "volumeMounts": [
            *(template.container.get("volumeMounts") or []),
            {"name": "models", "mountPath": "/model", "subPath": folder, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of a pod
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _probe(path: str, *, every: int, failures: int) -> Manifest:
    get = {"path": path, "port": "http", "scheme": "HTTP"}
    return {"httpGet": get, "periodSeconds": every, "timeoutSeconds": 5, "failureThreshold": failures}


def _disruption_budget(unit: Unit, template: Template, versions: Versions) -> Manifest:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": unit.labels(STABLE)}}
    return _object(versions.policy, "PodDisruptionBudget", unit.name, unit, template, unit.labels(), spec)


def _autoscaler(unit: Unit, template: Template, versions: Versions) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": template.target_cpu}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": unit.name},
        "minReplicas": template.replicas,
        "maxReplicas": template.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return _object(versions.autoscaling, "HorizontalPodAutoscaler", unit.name, unit, template, unit.labels(), spec)


def _object(
    version: str, kind: str, name: str, unit: Unit, template: Template, labels: dict[str, str], spec: Manifest
) -> Manifest:
    annotations = {MADE_FOR: made_for(unit), MODEL: unit.model}
    about = {"name": name, "namespace": template.namespace, "labels": labels, "annotations": annotations}
    return {"apiVersion": version, "kind": kind, "metadata": about, "spec": spec}
