"""What is known of a mount that was made: whose it is, so that it is found again, and removed by who may."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from learnloop.jobs.mount import Lifetime, Mount
from learnloop.jobs.namespace import kubernetes_name, user_folder
from learnloop.mounts.table import StorageClass


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(_Part):
    """For whom mounts are made. ``pipeline`` names those that outlive a run; by default it is the DAG."""

    user: str
    dag_id: str
    run_id: str
    pipeline: str


class Record(_Part):
    """What is written beside a mount that we made. ``url``: it is a copy of what is there, for as long as a run goes."""

    name: str
    lifetime: Lifetime
    user: str
    pipeline: str
    dag_id: str
    run_id: str
    storage_class: str
    size: str
    url: str | None = None
    only_read: bool = False

    @classmethod
    def of(cls, mount: Mount, one: StorageClass, scope: Scope) -> Record:
        """The record of ``mount`` when it is made in ``one`` for ``scope``."""
        made = cls(
            name=mount.name,
            lifetime=mount.lifetime,
            storage_class=one.name,
            size=mount.size,
            only_read=mount.only_read,
            **scope.model_dump(),
        )
        if one.how != "staged":
            return made
        return made.model_copy(update={"url": f"{str(one.url).rstrip('/')}/{user_folder(scope.user)}/{made.key}"})

    @classmethod
    def read(cls, text: str | None) -> Record | None:
        """The record in ``text``; None when it is none."""
        try:
            return cls.model_validate_json(text or "")
        except ValidationError:
            return None

    @property
    def key(self) -> str:
        """The same for every try of whoever needs this mount, and another for everybody else."""
        whose = {
            "run": (self.dag_id, self.run_id),
            "pipeline": (self.pipeline,),
            "user": (),
        }[self.lifetime]
        return kubernetes_name("mount", self.lifetime, self.user, *whose, self.name)

    @property
    def stage_key(self) -> str:
        """Of this run's copy of it."""
        return kubernetes_name("stage", self.dag_id, self.run_id, self.key, self.name)

    def of_run(self, dag_id: str, run_id: str) -> bool:
        """Whether it goes with that run."""
        return (self.lifetime == "run" or self.url is not None) and (self.dag_id, self.run_id) == (dag_id, run_id)


class Prepared(_Part):
    """A mount that a job can use.

    ``how``: ``pod`` (made with the job's pod), ``claim`` (``place`` is a PersistentVolumeClaim) or ``folder`` (``place`` is
    one of the workers', below the namespaces). ``record``: None for what is not ours; ``adopted``: it was there before.
    """

    mount: Mount
    storage_class: str
    how: Literal["pod", "claim", "folder"]
    place: str = ""
    user: str
    record: Record | None = None
    adopted: bool = False
