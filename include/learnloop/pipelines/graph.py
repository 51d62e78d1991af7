"""What a checked pipeline is: its stages, what each reads, and what each waits for."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from learnloop.jobs.mount import Name
from learnloop.jobs.spec import JobSpec

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1123): it names tasks, folders and pods alike."""
MOST_STAGES = 100

RUNNERS = frozenset({"schema_version", "user", "pins", "idempotency_key", "inputs"})
"""Fields of a `JobSpec` that the run decides, or that a stage has in another form."""
JOB_FIELDS = frozenset(JobSpec.model_fields) - RUNNERS


class StageInput(BaseModel):
    """What lies at ``DATA_DIR/{name}`` when the stage starts. ``source`` is read by ``kind``:

    ``dataset``: a version (``animals_v1.2``), or a dataset, for its head at the run's start. ``batch``: ``dataset/batch``.
    ``model``: ``name/version``, or ``name:alias`` for what the alias is at the run's start. ``stage``: a folder that an
    earlier stage promises, ``train/models/model``. ``folder``: an absolute path that the one who runs it may have read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["dataset", "batch", "model", "stage", "folder"]
    source: Annotated[str, Field(min_length=1, max_length=1000)]
    include: tuple[Annotated[str, Field(min_length=1, max_length=300)], ...] = ("**",)

    @property
    def stage(self) -> str | None:
        """The stage that makes it; None for what was there before."""
        return self.source.partition("/")[0] if self.kind == "stage" else None


class Stage(BaseModel):
    """One job. ``job`` holds the fields of its `JobSpec` that are fixed before it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: dict[str, Any]
    inputs: dict[Name, StageInput] = {}
    after: tuple[str, ...] = ()

    @property
    def mounts(self) -> tuple[str, ...]:
        return tuple(str(mount["name"]) for mount in self.job.get("mounts", ()))

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages that must have ended well before."""
        made = (wanted.stage for wanted in self.inputs.values())
        return tuple(sorted({*self.after, *(stage for stage in made if stage is not None)}))


class Graph(BaseModel):
    """A whole pipeline, with nothing left to its base: what is stored, and what a run does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    extends: str | None = None
    """``{name}@{version}`` of the pipeline that it was laid over."""
    stages: dict[str, Stage]

    @property
    def mounts(self) -> dict[str, dict[str, Any]]:
        """The needs of all stages, by the mounts' names: stages that name one mount share it."""
        return {str(mount["name"]): mount for stage in self.stages.values() for mount in stage.job.get("mounts", ())}

    def declaration(self) -> dict[str, Any]:
        """It as somebody would have declared it, whole."""
        stages = {name: declared(stage) for name, stage in self.stages.items()}
        return {"name": self.name, "description": self.description, "stages": stages}


def declared(stage: Stage) -> dict[str, Any]:
    """A stage as somebody would have declared it."""
    inputs = {name: wanted.model_dump(mode="json") for name, wanted in stage.inputs.items()}
    return {
        **stage.job,
        **({"inputs": inputs} if inputs else {}),
        **({"after": list(stage.after)} if stage.after else {}),
    }


def find_cycle(stages: dict[str, Stage]) -> list[str]:
    """The stages of a cycle, the first of them again at the end; empty when there is none."""
    state: dict[str, int] = {}  # 1: on the way, 2: done
    for start in stages:
        way: list[tuple[str, list[str]]] = [(start, list(stages[start].needs))] if start not in state else []
        state.setdefault(start, 1)
        while way:
            name, left = way[-1]
            if not left:
                state[name] = 2
                way.pop()
                continue
            following = left.pop(0)
            if state.get(following) == 1:
                names = [each for each, _ in way]
                return [*names[names.index(following) :], following]
            if following in stages and following not in state:
                state[following] = 1
                way.append((following, list(stages[following].needs)))
    return []
