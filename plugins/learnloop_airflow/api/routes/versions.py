"""Versions of datasets: made, shown, compared, restored, taken back, deleted."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import JSONResponse, PlainTextResponse

from learnloop.database import DatasetVersion, reading, session
from learnloop.datasets.allowed import allowed_folder, refuse_links_out
from learnloop.datasets.deletion import Deletion, delete_version
from learnloop.datasets.diff import VersionChanges, diff
from learnloop.datasets.history import Lineage, VersionDetails, lineage, show, visible_version
from learnloop.datasets.interop import dvc_file
from learnloop.datasets.remote_source import is_url
from learnloop.datasets.restore import restore
from learnloop.datasets.revert import revert
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import refuse_cold
from learnloop.errors import InvalidInput
from learnloop.permissions import authorize
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import Body, Message, line
from learnloop_airflow.api.idempotency import Key, once
from learnloop_airflow.api.routing import Lines, Routes
from learnloop_airflow.api.shapes.datasets import Restored, VersionMade
from learnloop_airflow.api.streaming import Progress, stream

routes = Routes()

Folder = Annotated[str, line(least=1, most=4000)]


class NewSnapshot(Body):
    path: Folder
    message: Message = ""


class Target(Body):
    target: Folder
    writable: bool = True


class Note(Body):
    message: Message = ""


class Yaml(PlainTextResponse):
    media_type = "application/yaml"


@routes.add("POST", "/snapshots", "dataset:write", result=VersionMade)
def make_snapshot(wanted: NewSnapshot, caller: Caller) -> Lines:
    """Make a version of a folder that the server can read; progress as lines of JSON. The same content is one version."""
    configured = settings()
    if is_url(wanted.path):
        raise InvalidInput(
            f"{wanted.path}: a URL needs credentials, which the API has not: run the DAG base_model_training with it"
        )
    folder = allowed_folder(wanted.path, **configured.whose(caller.name))
    refuse_links_out(folder, **configured.whose(caller.name))

    def work(progress: Progress) -> dict[str, Any]:
        with session() as db:
            made = snapshot(
                db,
                Store(configured.store),
                folder,
                owner=caller.name,
                message=wanted.message,
                progress=progress,
            )
            return _short(made)

    return stream(work)


@routes.add("GET", "/versions/{name}", "dataset:read", response_model=VersionDetails)
def show_version(name: str, caller: Caller) -> VersionDetails:
    """One version: content, who made it when and why, parents, children, rounds, who reads it."""
    with reading() as db:
        return show(db, name, user=caller.name)


@routes.add("GET", "/versions/{name}/lineage", "dataset:read", response_model=Lineage)
def show_lineage(name: str, caller: Caller) -> Lineage:
    """A version and what it came from, newest first."""
    with reading() as db:
        return lineage(db, name, user=caller.name)


@routes.add("GET", "/versions/{before}/diff/{after}", "dataset:read", response_model=VersionChanges)
def show_diff(
    before: str, after: str, caller: Caller, limit: Annotated[int, Query(ge=0, le=10_000)] = 100
) -> dict[str, Any]:
    """Files and records that were added, removed or changed; counts are complete, lists have at most ``limit``."""
    with reading() as db:
        first, second = (visible_version(db, name, caller.name) for name in (before, after))
        return asdict(diff(Store(settings().store), first, second, limit=limit))


@routes.add("GET", "/versions/{name}/dvc", "dataset:read", response_class=Yaml, errors=(409,))
def show_dvc_file(name: str, caller: Caller) -> Yaml:
    """The version as a ``.dvc`` file, for the stock ``dvc pull``."""
    with reading() as db:
        version = visible_version(db, name, caller.name)
        refuse_cold(db, version)
        return Yaml(dvc_file(version))


@routes.add("POST", "/versions/{name}/restore", "workspace:write", result=Restored)
def restore_version(name: str, wanted: Target, caller: Caller) -> Lines:
    """Put a version's files into a folder of the server's machine, whole or not at all; progress as lines of JSON."""
    configured = settings()
    target = allowed_folder(wanted.target, **configured.whose(caller.name))

    def work(progress: Progress) -> dict[str, Any]:
        with session() as db:
            version = visible_version(db, name, caller.name)
            restore(
                db,
                Store(configured.store),
                version.name,
                target,
                writable=wanted.writable,
                user=caller.name,
                progress=progress,
            )
            return {"version": version.name, "target": str(target), "files": version.files}

    return stream(work)


@routes.add("POST", "/versions/{name}/revert", "dataset:write", status_code=201, answers=VersionMade, errors=(409, 423))
def revert_to(name: str, wanted: Note, caller: Caller, key: Key = None) -> JSONResponse:
    """Make an earlier version's content the newest; what came between stays in the history."""
    with session() as db:

        def do() -> dict[str, Any]:
            return _short(revert(db, Store(settings().store), name, owner=caller.name, message=wanted.message))

        return once(db, caller, key, f"POST /versions/{name}/revert", wanted.model_dump(), do, 201)


@routes.add("DELETE", "/versions/{name}", "workspace:write", response_model=Deletion, errors=(409,))
def delete(name: str, caller: Caller, dry_run: bool = False) -> dict[str, Any]:
    """Delete a version: one's own personal ones, or with ``dataset:delete`` any. Refused while anything refers to it."""

    def allow(version: DatasetVersion) -> None:
        if version.personal_to != caller.name:
            authorize(caller, "dataset:delete", owner=version.personal_to)

    with session() as db:
        visible_version(db, name, caller.name)
        return asdict(delete_version(db, Store(settings().store), name, by=caller.name, allow=allow, dry_run=dry_run))


def _short(version: DatasetVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "dataset": version.dataset.name,
        "tree": version.tree,
        "files": version.files,
        "bytes": version.bytes,
    }
