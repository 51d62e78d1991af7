"""One's own workspaces: make, look at, commit, discard. Nobody sees another's."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from learnloop.database import DatasetVersion, Workspace, session
from learnloop.datasets import workspaces
from learnloop.datasets.locks import clock
from learnloop.datasets.store import Store
from learnloop.datasets.workspace_removal import discard, removed_at
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.streaming import Progress, stream

routes = Routes()


class NewWorkspace(BaseModel):
    version: str = Field(min_length=1, max_length=400)
    name: str = Field(min_length=1, max_length=63)
    writable: bool = True
    days: float | None = Field(default=None, gt=0, le=3650, allow_inf_nan=False)


class Commit(BaseModel):
    message: str = Field(default="", max_length=2000)
    token: int | None = Field(default=None, ge=1)


@routes.add("GET", "/workspaces", "workspace:write")
def list_mine(caller: Caller) -> dict[str, Any]:
    with session() as db:
        items = [_workspace(db, row) for row in workspaces.list_workspaces(db, owner=caller.name)]
        return {"items": items, "next": None}


@routes.add("POST", "/workspaces", "workspace:write")
def create(wanted: NewWorkspace, caller: Caller) -> StreamingResponse:
    """A private checkout of a version in the caller's namespace; progress as lines of JSON."""
    configured = settings()

    def work(progress: Progress) -> dict[str, Any]:
        made = workspaces.create(
            session,
            Store(configured.store),
            wanted.version,
            owner=caller.name,
            name=wanted.name,
            namespaces=configured.namespaces,
            quota=workspaces.Quota(configured.workspaces_per_user, configured.workspace_bytes_per_user),
            writable=wanted.writable,
            lasts=None if wanted.days is None else timedelta(days=wanted.days),
        )
        with session() as db:
            return _workspace(db, db.get_one(Workspace, made.id))

    return stream(work)


@routes.add("GET", "/workspaces/{name}/changes", "workspace:write")
def show_changes(name: str, caller: Caller) -> dict[str, Any]:
    """What differs from the version it was made of."""
    with session() as db:
        return asdict(workspaces.changes(db, Store(settings().store), workspaces.get(db, name, owner=caller.name)))


@routes.add("POST", "/workspaces/{name}/commit", "workspace:write")
def commit(name: str, wanted: Commit, caller: Caller) -> StreamingResponse:
    """Make a version of it: personal to the caller, or with a write lock's token shared; progress as lines of JSON."""

    def work(progress: Progress) -> dict[str, Any]:
        made = workspaces.commit(
            session, Store(settings().store), name, owner=caller.name, message=wanted.message, token=wanted.token
        )
        with session() as db:
            version = db.get_one(DatasetVersion, made.id)
            return {"name": version.name, "files": version.files, "bytes": version.bytes}

    return stream(work)


@routes.add("DELETE", "/workspaces/{name}", "workspace:write")
def remove(name: str, caller: Caller) -> dict[str, Any]:
    return {"discarded": discard(session, name, owner=caller.name)}


def _workspace(db: Any, row: Workspace) -> dict[str, Any]:
    """``state`` is ``expired`` for one that can still be used, until ``removed_at``."""
    expired = row.state == "ready" and row.expires_at is not None and row.expires_at <= clock(db)
    return {
        "name": row.name,
        "dataset": row.dataset.name,
        "base": row.base.name,
        "path": row.path,
        "state": "expired" if expired else row.state,
        "writable": row.writable,
        "bytes": row.bytes,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "removed_at": removed_at(row, timedelta(days=settings().workspace_grace_days)),
    }
