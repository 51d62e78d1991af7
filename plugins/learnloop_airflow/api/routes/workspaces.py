"""One's own workspaces: make, look at, commit, discard. Nobody sees another's."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.orm import joinedload

from learnloop.database import DatasetVersion, Workspace, reading, session
from learnloop.datasets import workspaces
from learnloop.datasets.locks import clock
from learnloop.datasets.store import Store
from learnloop.datasets.workspace_removal import discard, removed_at
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import WHOLE, Body, Message, line
from learnloop_airflow.api.routing import Lines, Routes
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.workspaces import Committed, Discarded, WorkspaceItem
from learnloop_airflow.api.streaming import Progress, stream

routes = Routes()


class NewWorkspace(Body):
    version: Annotated[str, line(least=1, most=400)]
    name: Annotated[str, line(least=1, most=63)]
    writable: bool = True
    days: float | None = Field(default=None, gt=0, le=3650, allow_inf_nan=False)


class Commit(Body):
    message: Message = ""
    token: Annotated[int, Field(ge=1, le=2**53), WHOLE] | None = None


@routes.add("GET", "/workspaces", "workspace:write", response_model=Page[WorkspaceItem])
def list_mine(caller: Caller) -> dict[str, Any]:
    """The caller's workspaces."""
    with reading() as db:
        now = clock(db)
        rows = workspaces.list_workspaces(
            db, joinedload(Workspace.dataset), joinedload(Workspace.base), owner=caller.name
        )
        return {"items": [_workspace(row, now) for row in rows], "next": None}


@routes.add("POST", "/workspaces", "workspace:write", result=WorkspaceItem)
def create(wanted: NewWorkspace, caller: Caller) -> Lines:
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
            return _workspace(db.get_one(Workspace, made.id), clock(db))

    return stream(work)


@routes.add("GET", "/workspaces/{name}/changes", "workspace:write", response_model=workspaces.Changes)
def show_changes(name: str, caller: Caller) -> dict[str, Any]:
    """What differs from the version it was made of."""
    with session() as db:
        return asdict(workspaces.changes(db, Store(settings().store), workspaces.get(db, name, owner=caller.name)))


@routes.add("POST", "/workspaces/{name}/commit", "workspace:write", result=Committed)
def commit(name: str, wanted: Commit, caller: Caller) -> Lines:
    """Make a version of it: personal to the caller, or with a write lock's token shared; progress as lines of JSON."""

    def work(progress: Progress) -> dict[str, Any]:
        made = workspaces.commit(
            session, Store(settings().store), name, owner=caller.name, message=wanted.message, token=wanted.token
        )
        with session() as db:
            version = db.get_one(DatasetVersion, made.id)
            return {"name": version.name, "files": version.files, "bytes": version.bytes}

    return stream(work)


@routes.add("DELETE", "/workspaces/{name}", "workspace:write", response_model=Discarded)
def remove(name: str, caller: Caller) -> dict[str, Any]:
    """Remove a workspace with what is in it."""
    return {"discarded": discard(session, name, owner=caller.name)}


def _workspace(row: Workspace, now: datetime) -> dict[str, Any]:
    """``state`` is ``expired`` for one that can still be used, until ``removed_at``."""
    expired = row.state == "ready" and row.expires_at is not None and row.expires_at <= now
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
