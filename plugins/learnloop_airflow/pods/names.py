"""The names that a job's pod and its parts bear, and what makes a pod one of ours."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learnloop.capacity.reservations import Holder
    from learnloop.jobs.spec import JobSpec

STAGE = "stage"
"""The init container that fetches the inputs."""
JOB = "job"
"""The container that does the work."""
MANAGED = {"app.kubernetes.io/managed-by": "learnloop", "app.kubernetes.io/component": "job"}
SELECTOR = ",".join(f"{name}={value}" for name, value in MANAGED.items())
USER = "learnloop/user"
TASK = "learnloop/task"
"""The annotation that says whose pod it is, in full: labels hold 63 characters."""


@dataclass(frozen=True)
class Owner:
    """The try of a task that a pod belongs to. ``map_index`` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int

    @classmethod
    def of(cls, context: Any) -> Owner:
        task = context["ti"]
        index = -1 if task.map_index is None else task.map_index
        return cls(task.dag_id, task.run_id, task.task_id, index, task.try_number)

    @classmethod
    def read(cls, pod: Any) -> Owner | None:
        """Whose ``pod`` is; None for a pod that does not say."""
        text = (pod.metadata.annotations or {}).get(TASK)
        try:
            return cls(**json.loads(text)) if text else None
        except (TypeError, ValueError):
            return None

    def same_task(self, other: Owner | None) -> bool:
        """Whether both are tries of one task."""
        mine = (self.dag_id, self.run_id, self.task_id, self.map_index)
        return other is not None and mine == (other.dag_id, other.run_id, other.task_id, other.map_index)

    def holder(self) -> Holder:
        """As reservations name it."""
        from learnloop.capacity.reservations import Holder

        return Holder(**asdict(self))

    def written(self) -> str:
        return json.dumps(asdict(self))


def pod_name(spec: JobSpec) -> str:
    """One name for one user's one key: the API server takes no second pod of that name, so a job runs once at a time."""
    from learnloop.jobs.namespace import kubernetes_name

    return kubernetes_name("job", spec.user, spec.key)


def user_label(user: str) -> str:
    from learnloop.jobs.namespace import user_folder

    return user_folder(user)
