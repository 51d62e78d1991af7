"""Fetches a job's inputs, in the init container of its pod: ``python -m learnloop.jobs.stager``.

It is the only container of the pod that reaches the object store and the registered models; the job's own container has
neither a mount of them nor a credential. What to fetch is in ``STAGE_PLAN``, a JSON :class:`Plan`; the job's places
are where the job finds them too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from learnloop.errors import Corrupted, InvalidInput, LearnloopError, NotFound
from learnloop.jobs.checksums import MANIFEST, check_manifest
from learnloop.jobs.contract import Places, done_by, prepare, read_result
from learnloop.jobs.spec import JobSpec

PLAN = "STAGE_PLAN"
ALREADY_DONE = 75
"""The exit code that keeps the job from starting: its result has been committed meanwhile."""


class Source(BaseModel):
    """Where one input is, as the stager's container sees it.

    A ``tree`` is in the DVC store at ``path``, by its hash; of it, what matches one of ``include``. A ``folder`` is
    ``path`` itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["tree", "folder"]
    path: str
    tree: str = ""
    include: tuple[str, ...] = ("**",)


class Plan(BaseModel):
    """A job and where its inputs are. The spec holds references to secrets, never a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: JobSpec
    sources: dict[str, Source]


def stage(plan: Plan, places: Places) -> bool:
    """Make the job's places and put every input at ``DATA_DIR/{its name}``; False when the job has its result already.

    Raises:
        Corrupted: an object of the store, or a file of a model, does not hold the bytes it should.
        NotFound: an object or a folder is missing.
        InvalidInput: a pattern matches no file, or a path leads out of its tree.
    """
    if _is_done(plan.spec, places):
        return False
    prepare(places, plan.spec)
    for name, source in plan.sources.items():
        part = places.data / f".{name}.part"
        part.mkdir()
        if source.kind == "tree":
            files, size = _fetch_tree(source, part)
        else:
            files, size = _fetch_folder(Path(source.path), part)
        part.rename(places.data / name)
        print(f"staged {name}: {files} files, {size} bytes")  # noqa: T201 - the container's log
    return True


def _is_done(spec: JobSpec, places: Places) -> bool:
    try:
        return read_result(places) is not None and done_by(places) == spec.default_key()
    except Corrupted as error:
        print(f"an earlier run finished, but {error}; running the job again")  # noqa: T201
        return False


def _fetch_tree(source: Source, target: Path) -> tuple[int, int]:
    store = Path(source.path)
    listed = {entry["relpath"]: entry["md5"] for entry in json.loads(_read_object(store, source.tree))}
    for pattern in source.include:
        if not any(fnmatchcase(path, pattern) for path in listed):
            raise InvalidInput(f"{pattern!r} matches no file of the tree ({len(listed)} files)")
    wanted = {path: md5 for path, md5 in listed.items() if any(fnmatchcase(path, p) for p in source.include)}
    size = 0
    for path, md5 in wanted.items():
        if path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
            raise InvalidInput(f"{path!r} is not a path inside a tree")
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        size += _copy_object(store, md5, place)
    return len(wanted), size


def _fetch_folder(source: Path, target: Path) -> tuple[int, int]:
    if not source.is_dir():
        raise NotFound(f"{source} is not a folder that the stager can read")
    shutil.copytree(source, target, dirs_exist_ok=True)
    if (target / MANIFEST).exists():
        check_manifest(target)
    files = [path for path in target.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


def _place_of(store: Path, name: str) -> Path:
    path = store / "files" / "md5" / name[:2] / name[2:]
    if not path.is_file():
        raise NotFound(f"object {name} is not in the store")
    return path


def _read_object(store: Path, name: str) -> bytes:
    data = _place_of(store, name).read_bytes()
    _check(name, hashlib.md5(data, usedforsecurity=False).hexdigest())
    return data


def _copy_object(store: Path, name: str, target: Path) -> int:
    shutil.copyfile(_place_of(store, name), target)
    with target.open("rb") as file:  # what the job will read, not what was meant to be copied
        _check(name, hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest())
    return target.stat().st_size


def _check(name: str, digest: str) -> None:
    if name.removesuffix(".dir") != digest:
        raise Corrupted(
            f"object {name} of the store does not hold the bytes it is named by; verify and repair the store"
        )


def main(environment: Mapping[str, str] = os.environ) -> None:
    try:
        plan = Plan.model_validate_json(environment.get(PLAN, ""))
    except ValidationError as error:
        sys.exit(f"invalid-input: {PLAN} is not a plan of what to stage: {error}")
    try:
        staged = stage(plan, Places.from_environment(environment))
    except LearnloopError as error:
        sys.exit(f"{error.type}: {error}")
    if not staged:
        print("this job has its result already")  # noqa: T201
        sys.exit(ALREADY_DONE)


if __name__ == "__main__":
    main()
