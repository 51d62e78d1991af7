"""The same `JobSpec` as a pod: what `KubernetesPodOperator` makes of it, the template, and what every job's pod must be."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value
from kubernetes.client import models as k8s

from learnloop.errors import InvalidInput
from learnloop_airflow.pods.capacity import GPU, POOL
from learnloop_airflow.pods.inputs import resolve
from learnloop_airflow.pods.mounted import volume_mounts, volumes
from learnloop_airflow.pods.names import JOB, MANAGED, STAGE, TASK, USER, Owner, pod_name, user_label
from learnloop_airflow.pods.security import locked_down, pod_security, user_of
from learnloop_airflow.pods.template import load_template

if TYPE_CHECKING:
    from learnloop.jobs.contract import Places
    from learnloop.jobs.spec import JobSpec
    from learnloop.mounts.made import Prepared
    from learnloop.traces.context import TraceContext

LONGEST_PLAN = 100 * 1024  # of a value in a container's environment, with room to spare (Linux: 128 KiB)
GRACE_SECONDS = 10
PRIORITIES = ((1, "learnloop-high"), (0, ""), (-1000, "learnloop-low"))
"""From which priority on a pod gets which PriorityClass; see deploy/kubernetes/priority-classes.yaml."""
_STAGER = {"cpu": "100m", "memory": "256Mi"}


class JobPod(KubernetesPodOperator):
    """Builds the pod of one job and holds the connection to its cluster.

    It is made within a `JobOperator`'s task and never executed itself: what waits for the pod is `JobPodTrigger`, since
    `KubernetesPodTrigger` creates no pod that a quota refuses for now, gives up on one that is not scheduled
    in time, and takes a pod that is gone for a failure (docs/kubernetes.md).

    :param spec: the job.
    :param owner: the try of the task it belongs to.
    :param memory: how much memory it gets, as `learnloop.jobs.memory.needed` says.
    :param mounts: the spec's mounts, made.
    :param trace: the job's span, where it is traced.
    """

    def __init__(
        self,
        *,
        spec: JobSpec,
        owner: Owner,
        memory: str,
        mounts: Sequence[Prepared] = (),
        trace: TraceContext | None = None,
        **kwargs: Any,
    ) -> None:
        from learnloop.jobs.contract import Places
        from learnloop.settings import settings

        template = load_template(settings().pod_template)
        inside = Places.of(Path("/"), spec)
        user = user_of(template)
        amounts = {"cpu": f"{spec.resources.cpu:g}", "memory": memory}
        if spec.resources.gpu:
            amounts[GPU] = str(spec.resources.gpu)
        command = list(spec.command) or ["python", "-m", str(spec.module)]
        super().__init__(
            task_id="job_pod",
            name=pod_name(spec),
            random_name_suffix=False,
            base_container_name=JOB,
            pod_template_dict=_prepared(template, inside),
            image=spec.image or settings().job_image,
            cmds=[literal(part) for part in command],
            env_vars=_environment(spec, inside, trace),
            labels=_labels(spec, owner),
            annotations={TASK: owner.written()},
            container_resources=k8s.V1ResourceRequirements(requests=amounts, limits=amounts),
            node_selector={POOL: spec.node_pool} if spec.node_pool else None,
            tolerations=_tolerations(spec, template),
            priority_class_name=_priority_class(spec.priority) or None,
            security_context=pod_security(template, user),
            container_security_context=locked_down(),
            volumes=[_empty("job-data"), _empty("job-tmp"), *volumes(mounts)],
            volume_mounts=[
                k8s.V1VolumeMount(name="job-data", mount_path=str(inside.data)),
                k8s.V1VolumeMount(name="job-tmp", mount_path="/tmp"),  # noqa: S108 - a volume of this pod alone
                *_own_folders(spec, inside),
                *volume_mounts(mounts, settings().namespaces),
            ],
            init_containers=[_stager(spec, inside, settings().job_image)],
            automount_service_account_token=bool(template["spec"].get("automountServiceAccountToken", False)),
            active_deadline_seconds=math.ceil(spec.timeout_seconds),
            termination_grace_period=GRACE_SECONDS,
            do_xcom_push=False,
            **kwargs,
        )

    def manifest(self, context: Any) -> dict[str, Any]:
        """The pod as JSON, for the API."""
        from kubernetes.client import ApiClient

        return dict(ApiClient().sanitize_for_serialization(self.build_pod_request_obj(context)))


def hand_over(places: Places, user: int, mounts: Sequence[Prepared] = ()) -> None:
    """Make the folders that the pod writes to, as ``user``'s. A worker that is not root runs pods as itself."""
    for folder in (places.results, places.models, *(Path(one.place) for one in mounts if one.how == "folder")):
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user, user, follow_symlinks=False)


def literal(text: str) -> str:
    """``text`` as it is: Kubernetes takes ``$(NAME)`` in commands and variables for a reference, and ``$$`` for a ``$``."""
    return text.replace("$", "$$")


def _environment(spec: JobSpec, inside: Places, trace: TraceContext | None) -> list[k8s.V1EnvVar]:
    from learnloop.jobs.attempt import environment_of

    found = environment_of(spec, inside, {mount.variable: mount.path for mount in spec.mounts}, trace)
    values = [k8s.V1EnvVar(name=name, value=literal(value)) for name, value in found.items()]
    for name, reference in spec.secrets.items():
        secret, _, key = reference.partition("/")
        if not secret or not key:
            raise InvalidInput(
                f"secret {name} refers to {reference!r}; on Kubernetes it is SECRET/KEY of the namespace"
            )
        source = k8s.V1EnvVarSource(secret_key_ref=k8s.V1SecretKeySelector(name=secret, key=key))
        values.append(k8s.V1EnvVar(name=name, value_from=source))
    return values


def _stager(spec: JobSpec, inside: Places, image: str) -> k8s.V1Container:
    from learnloop.jobs.stager import PLAN, Plan

    sources, mounts = resolve(spec)
    plan = Plan(spec=spec, sources=sources).model_dump_json()
    if len(plan) > LONGEST_PLAN:
        raise InvalidInput(
            f"the job's spec is {len(plan)} bytes long, and {LONGEST_PLAN} fit into a pod: give large params as an input"
        )
    return k8s.V1Container(
        name=STAGE,
        image=image,
        command=["python", "-m", "learnloop.jobs.stager"],
        env=[
            k8s.V1EnvVar(name=PLAN, value=literal(plan)),
            *(k8s.V1EnvVar(name=name, value=value) for name, value in inside.environment().items()),
        ],
        resources=k8s.V1ResourceRequirements(requests=_STAGER, limits=_STAGER),
        security_context=locked_down(),
        volume_mounts=[
            k8s.V1VolumeMount(name="job-data", mount_path=str(inside.data)),
            k8s.V1VolumeMount(name="job-tmp", mount_path="/tmp"),  # noqa: S108 - a volume of this pod alone
            *_own_folders(spec, inside),
            *(
                k8s.V1VolumeMount(
                    name=mount.volume, mount_path=mount.path, sub_path=mount.sub_path or None, read_only=True
                )
                for mount in mounts
            ),
        ],
    )


def _own_folders(spec: JobSpec, inside: Places) -> list[k8s.V1VolumeMount]:
    """This job's results and models, and nothing else of the volume: nobody's other job, and nobody else's."""
    return [
        k8s.V1VolumeMount(name="namespaces", mount_path=str(path), sub_path=f"{kind}/{spec.folder}")
        for kind, path in (("results", inside.results), ("models", inside.models))
    ]


def _prepared(template: dict[str, Any], inside: Places) -> dict[str, Any]:
    """The template with what `KubernetesPodOperator` has no argument for, and without what jobs decide themselves."""
    prepared = deepcopy(template)
    spec = prepared["spec"]
    containers = spec.setdefault("containers", []) or []
    if not containers:
        containers.append({})
    containers[0].update(name=JOB, workingDir=str(inside.cache))
    spec.update(containers=containers, restartPolicy="Never")
    prepared.setdefault("metadata", {}).pop("name", None)
    return prepared


def _labels(spec: JobSpec, owner: Owner) -> dict[str, str]:
    round_ = re.fullmatch(r"round-.+-(\d+)", owner.run_id)
    named = {
        "learnloop/dataset": spec.pins.model_name or "",
        "learnloop/round": round_[1] if round_ else "",
        "learnloop/run": owner.run_id,
        "learnloop/task": owner.task_id,
        "learnloop/try": str(owner.try_number),
    }
    safe = {name: make_safe_label_value(value) for name, value in named.items() if value}
    return {**MANAGED, USER: user_label(spec.user), **safe}


def _tolerations(spec: JobSpec, template: dict[str, Any]) -> list[dict[str, Any]]:
    """The template's, that of the asked node pool's taint, and that of nodes with GPUs when GPUs are asked for."""
    found = list(template["spec"].get("tolerations") or [])  # a merged pod would have one list or the other, not both
    if spec.node_pool:
        found.append({"key": POOL, "operator": "Equal", "value": spec.node_pool})
    if spec.resources.gpu:
        found.append({"key": GPU, "operator": "Exists"})
    return found


def _priority_class(priority: int) -> str:
    return next(name for least, name in PRIORITIES if priority >= least)


def _empty(name: str) -> k8s.V1Volume:
    return k8s.V1Volume(name=name, empty_dir=k8s.V1EmptyDirVolumeSource())
