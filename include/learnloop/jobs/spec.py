"""What a job is: everything a runner needs to know, and nothing about how it runs."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from learnloop.errors import InvalidInput
from learnloop.jobs.mount import Mount, Name, faults_between
from learnloop.jobs.namespace import key_folder, user_folder
from learnloop.jobs.quantities import Quantity

SCHEMA_VERSION = 1

# The runner sets these; a spec that sets them too would break the contract or reach past it.
RESERVED = re.compile(
    r"(DATA_DIR|CACHE_DIR|RESULTS_DIR|MODELS_DIR|HOME|PATH|MOUNT_\w+|LD_\w+|TRACEPARENT|TRACESTATE|LEARNLOOP_\w*|AIRFLOW_\w*|_AIRFLOW_\w*)"
)

EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Part):
    """What the stager puts at ``DATA_DIR/{name}`` before the job starts.

    ``source`` is read by ``kind``: ``dataset`` and ``batch``: the hash of a tree in the store; ``model``:
    ``{name}/{version}``; ``url``: any fsspec address. Of a tree, only paths matching one of ``include`` are staged.
    """

    source: str = Field(min_length=1)
    kind: Literal["dataset", "batch", "model", "url"]
    include: tuple[str, ...] = ("**",)


class Resources(_Part):
    """``cpu`` in cores, ``memory`` in bytes or with Ki, Mi, Gi, Ti, ``gpu`` in whole devices."""

    cpu: float = Field(default=1.0, gt=0, le=1024)
    memory: Quantity = "1Gi"
    gpu: int = Field(default=0, ge=0, le=64)


class Pins(_Part):
    """The versions a run fixed when it started; it never reads "latest" again."""

    dataset_version: str | None = None
    dataset_tree: str | None = None
    model_name: str | None = None
    model_version: int | None = Field(default=None, ge=1)


class JobSpec(_Part):
    """One container's (or process's) work: files in, files out.

    Either ``module`` (run as ``python -m module``) or ``command`` (an argument list) says what runs. ``secrets`` maps
    an environment variable to a *reference* that the runner resolves, never to a value. ``outputs`` are the files
    or folders, as ``results/...`` or ``models/...``, that the job promises to declare when it finishes.
    """

    schema_version: Literal[1] = 1
    image: str | None = None
    module: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    command: tuple[str, ...] = ()
    params: dict[str, JsonValue] = {}
    env: dict[EnvironmentName, str] = {}
    secrets: dict[EnvironmentName, str] = {}
    inputs: dict[Name, Input] = {}
    outputs: tuple[Annotated[str, Field(pattern=r"^(results|models)/[^/\x00]+(/[^/\x00]+)*$")], ...] = ()
    mounts: tuple[Mount, ...] = ()
    resources: Resources = Resources()
    node_pool: str | None = None
    priority: int = Field(default=0, ge=-1000, le=1000)
    timeout_seconds: float = Field(default=3600, gt=0, le=30 * 86400)
    seed: int = Field(default=0, ge=0, lt=2**32)
    user: str = Field(min_length=1, max_length=250)
    pins: Pins = Pins()
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=250)

    @model_validator(mode="after")
    def _consistent(self) -> JobSpec:
        if bool(self.module) == bool(self.command):
            raise ValueError("give either a module (python -m ...) or a command, not both and not neither")
        if "seed" in self.params:
            raise ValueError("params hold a seed; use the seed field, which params.json then shows as seed")
        for name in [*self.env, *self.secrets]:
            if RESERVED.fullmatch(name):
                raise ValueError(f"environment variable {name} is the runner's to set; choose another name")
        both = sorted(self.env.keys() & self.secrets.keys())
        if both:
            raise ValueError(f"{', '.join(both)} stands in env and in secrets; leave it in one")
        if fault := faults_between(self.mounts):
            raise ValueError(fault)
        return self

    @property
    def key(self) -> str:
        """Under this key the job runs once: the given one, else :meth:`default_key`."""
        return self.idempotency_key or self.default_key()

    @property
    def folder(self) -> str:
        """``{user}/{key}``, safe as a path below each of the four places."""
        return f"{user_folder(self.user)}/{key_folder(self.key)}"

    def default_key(self) -> str:
        """A stable hash of what determines the result; where, when and for whom it runs is not part of it."""
        determining = self.model_dump(
            mode="json",
            include={
                "schema_version",
                "image",
                "module",
                "command",
                "params",
                "env",
                "inputs",
                "outputs",
                "seed",
                "pins",
            },
        )
        text = json.dumps(determining, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return "job-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def parse_spec(value: dict[str, Any]) -> JobSpec:
    """Make a spec from JSON-like data.

    Raises:
        InvalidInput: with one problem for each field that is wrong.
    """
    try:
        return JobSpec.model_validate(value)
    except ValidationError as error:
        raise InvalidInput("the job spec is not valid", problems_of(error, "the spec")) from error


def problems_of(error: ValidationError, whole: str) -> list[str]:
    """One problem for each field that is wrong, beginning with the field's place, or ``whole`` for no one field."""
    return [
        f"{'.'.join(map(str, fault['loc'])) or whole}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_url=False, include_context=False)
    ]
