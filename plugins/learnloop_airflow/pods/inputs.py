"""Where a job's inputs are for the stager: a volume of the template, read-only, and only the part that is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from learnloop.errors import InvalidInput

if TYPE_CHECKING:
    from learnloop.jobs.spec import Input, JobSpec
    from learnloop.jobs.stager import Source

ROOT = "/stage"


@dataclass(frozen=True)
class InputMount:
    """``sub_path`` of a volume, read-only at ``path`` of the stager's container."""

    volume: str
    sub_path: str
    path: str


def resolve(spec: JobSpec) -> tuple[dict[str, Source], list[InputMount]]:
    """What the stager is to fetch, and the mounts it needs for that. A version in the cold tier is recalled here.

    Raises:
        InvalidInput: an input lies where no pod may read.
    """
    from learnloop.jobs.stager import Source

    sources: dict[str, Source] = {}
    mounts: dict[str, InputMount] = {}
    for name, wanted in spec.inputs.items():
        if wanted.kind in ("dataset", "batch"):
            _make_hot(wanted.source, spec.user)
            mounts["store"] = InputMount("store", "", f"{ROOT}/store")
            sources[name] = Source(kind="tree", path=mounts["store"].path, tree=wanted.source, include=wanted.include)
        else:
            volume, sub_path, rest = _place_of(name, wanted, spec.user)
            mounts[name] = InputMount(volume, sub_path, f"{ROOT}/inputs/{name}")
            sources[name] = Source(kind="folder", path="/".join([mounts[name].path, *rest]))
    return sources, list(mounts.values())


def _make_hot(tree: str, user: str) -> None:
    from learnloop.database import session
    from learnloop.datasets.tiers import ensure_tree_hot
    from learnloop.datasets.uses import record_use
    from learnloop_airflow.common import store
    from learnloop_airflow.staging import said

    if not re.fullmatch(r"[0-9a-f]{32}\.dir", tree):
        raise InvalidInput(f"{tree!r} is not the hash of a tree: 32 hex digits and .dir")
    with session() as db:
        version = ensure_tree_hot(db, store(), tree, progress=said)
        if version is not None:
            record_use(db, version, "job", user)


def _place_of(name: str, wanted: Input, user: str) -> tuple[str, str, tuple[str, ...]]:
    """The volume, the folder of it to mount, and the way from there.

    Of a person's own, the folder of a whole job is mounted. What is in it the job may have made a link, which a node would
    follow to anywhere in the volume, and a container only to what is mounted in it.
    """
    from learnloop.jobs.namespace import KINDS, user_folder
    from learnloop.models import registry
    from learnloop.settings import settings

    if wanted.kind == "model":
        model, _, version = wanted.source.rpartition("/")
        path = registry.source_of(model, int(version))
        if path.is_relative_to(settings().models):
            return "models", path.relative_to(settings().models).as_posix(), ()
        raise InvalidInput(f"input {name!r}: the files of {wanted.source} are not below {settings().models}")
    address = urlsplit(wanted.source)
    path = Path(unquote(address.path))
    for kind in KINDS:
        own = settings().namespaces / kind / user_folder(user)
        if address.scheme == "file" and ".." not in path.parts and path.is_relative_to(own) and path != own:
            job, *rest = path.relative_to(own).parts
            return "namespaces", f"{kind}/{user_folder(user)}/{job}", tuple(rest)
    raise InvalidInput(
        f"input {name!r}: {wanted.source!r} cannot be staged for a pod of {user}; it must be a file:// address"
        f" of a folder in what is theirs below {settings().namespaces}"
    )
