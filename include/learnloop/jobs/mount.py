"""What a job needs of a place: never a product, so that the same job runs on one machine and on any cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from learnloop.jobs.quantities import Quantity, bytes_of

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
Access = Literal["read_only", "read_write", "read_only_many", "read_write_many"]
Performance = Literal["cold", "standard", "fast"]
Lifetime = Literal["run", "pipeline", "user"]

MOST = 16
"""So many mounts a job may have."""
STAYS = {"run": 1.0, "pipeline": 30.0, "user": 30.0}
"""For so many days the cost of a mount is counted, by lifetime, when it does not say how long it stays."""
TAKEN = frozenset({"data", "tmp", "results", "models", "stage"}) | frozenset(
    "bin boot dev etc lib lib32 lib64 libx32 opt proc root run sbin sys usr var".split()  # noqa: SIM905 - reads better
)
"""Top folders that are the job's own places, the stager's, or the system's in an image."""


@dataclass(frozen=True)
class Figures:
    """What a performance needs: at most so long for a first byte, at least so many operations and MiB a second."""

    latency_ms: float
    iops: float
    mib_per_s: float


PERFORMANCE: dict[str, Figures] = {
    "cold": Figures(latency_ms=500, iops=0, mib_per_s=10),
    "standard": Figures(latency_ms=20, iops=250, mib_per_s=60),
    "fast": Figures(latency_ms=2, iops=3000, mib_per_s=125),
}


class Mount(BaseModel):
    """A place a job reads or writes, beside its four folders.

    The job finds it at ``path`` in a pod, and everywhere at what the variable ``MOUNT_{NAME}`` says.

    Args:
        access: ``_many``: by pods on several nodes at once.
        performance: by `PERFORMANCE`. ``cold`` is for what is read in one go, and may have to be fetched before a job.
        lifetime: ``run`` (removed when the run ends), ``pipeline`` (kept until deleted on request), ``user`` (never
            removed automatically).
        cache: what is in it can be made again at any time: each job may find it empty.
        reads_per_month: how often all of it is read in a month.
        days: for how long its cost is counted; by default `STAYS`.
        claim: what exists already under this name, a PersistentVolumeClaim or a folder: it is used, and never removed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    path: str = Field(pattern=r"^/[^\x00:]*$", max_length=4096)
    size: Quantity
    access: Access = "read_write"
    performance: Performance = "standard"
    lifetime: Lifetime = "run"
    cache: bool = False
    reads_per_month: float = Field(default=30, ge=0, le=1_000_000)
    days: float | None = Field(default=None, gt=0, le=36_500)
    claim: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")

    @field_validator("path")
    @classmethod
    def _stays_below(cls, path: str) -> str:
        parts = path.split("/")
        if ".." in parts or "." in parts or path.rstrip("/") == "":
            raise ValueError("a mount's path must be absolute, below / and without '..'")
        plain = "/" + "/".join(part for part in parts if part)
        if plain.split("/")[1] in TAKEN:
            raise ValueError(
                f"a mount's path cannot be in /{plain.split('/')[1]}, where the job's own places or the system's are;"
                " choose another, such as /mnt/scratch"
            )
        return plain

    @model_validator(mode="after")
    def _consistent(self) -> Mount:
        if self.cache and self.lifetime != "run":
            raise ValueError(f"a cache cannot be kept for a {self.lifetime}: take lifetime run, or leave cache out")
        if self.cache and self.access in ("read_only", "read_only_many"):
            raise ValueError("a cache that is only read stays empty: take access read_write, or leave cache out")
        if self.claim and self.lifetime != "user":
            raise ValueError("what exists already is never removed: say lifetime user with claim")
        return self

    @property
    def variable(self) -> str:
        """The environment variable that tells the job where it is."""
        return "MOUNT_" + self.name.upper().replace("-", "_")

    @property
    def bytes(self) -> int:
        """``size`` in bytes."""
        return bytes_of(self.size)

    @property
    def stays(self) -> float:
        """Days for which its cost is counted."""
        return STAYS[self.lifetime] if self.days is None else self.days

    @property
    def only_read(self) -> bool:
        """Whether jobs may only read it."""
        return self.access in ("read_only", "read_only_many")


def faults_between(mounts: tuple[Mount, ...]) -> str | None:
    """What is wrong with ``mounts`` side by side; None when nothing is."""
    if len(mounts) > MOST:
        return f"there are {len(mounts)} mounts, and {MOST} may be: put some into one"
    for group, values in (
        ("mount name", [mount.name for mount in mounts]),
        ("mount path", [mount.path for mount in mounts]),
        ("mount variable", [mount.variable for mount in mounts]),
        ("mount claim", [mount.claim for mount in mounts if mount.claim]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            return f"{group} {', '.join(twice)} is used twice; each must be unique"
    for one in mounts:
        for other in mounts:
            if other.path.startswith(f"{one.path}/"):
                return f"mount {other.name} ({other.path}) lies within mount {one.name} ({one.path}); put them side by side"
    return None
