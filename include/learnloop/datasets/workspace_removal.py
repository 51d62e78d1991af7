"""How workspaces go: discarded by their owners, or by upkeep when they expired or their process died.

Whoever makes, commits or removes a workspace has its turn meanwhile. A turn ends with its process, so that a workspace
which is half made or half removed while nobody has its turn is a dead process's: nobody need guess by the clock.

A workspace that expired may hold changes that its owner has made and not committed. So one that a person made to
write in is kept for a grace period (``LEARNLOOP_WORKSPACE_GRACE_DAYS``): it is listed as expired, with the time at which
it goes, and can be committed as before. One that is read-only, or that a run made and can make again, goes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from learnloop.database import Workspace
from learnloop.datasets.turns import take_turn, take_turn_if_free
from learnloop.datasets.workspace_files import remove_files
from learnloop.faultpoints import reach

SessionFactory = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True)
class Removed:
    """What upkeep did. ``failed`` says which workspaces could not be removed, and why; they are tried again."""

    removed: int
    failed: tuple[str, ...]


def turn_of(owner: str, name: str) -> str:
    """The name of the turn for work on one workspace."""
    return f"workspace {owner} {name}"


def discard(sessions: SessionFactory, name: str, *, owner: str, key: str | None = None) -> bool:
    """Remove a workspace and its files, when nobody is at work on it. False when ``owner`` has none of that name.

    Args:
        key: only if it was made under this key: what a run made, it may remove, but no other of that name.
    """
    with sessions() as turn:
        take_turn(turn, turn_of(owner, name))
        found = select(Workspace.id).where(Workspace.owner == owner, Workspace.name == name)
        with sessions() as session:
            workspace_id = session.scalar(found if key is None else found.where(Workspace.key == key))
        if workspace_id is None:
            return False
        remove(sessions, workspace_id)
        return True


def removed_at(workspace: Workspace, grace: timedelta) -> datetime | None:
    """When upkeep removes a workspace: when it expires, or ``grace`` after; None for one that does not expire."""
    if workspace.expires_at is None:
        return None
    return workspace.expires_at + (grace if workspace.writable and workspace.key is None else timedelta(0))


def remove_dead(sessions: SessionFactory, *, grace: timedelta) -> Removed:
    """Remove workspaces that expired, and those that a process left half made or half removed.

    One that somebody is at work on is left alone, and taken the next time. One that cannot be removed keeps none of
    the others.

    Args:
        grace: how long one that a person may have changed is kept after it expired (``removed_at``).
    """
    gone = or_(Workspace.state != "ready", _lapsed(grace))
    with sessions() as session:
        found = session.execute(select(Workspace.id, Workspace.owner, Workspace.name).where(gone)).all()
    removed, failed = 0, []
    for workspace_id, owner, name in found:
        with sessions() as turn:
            if not take_turn_if_free(turn, turn_of(owner, name)):
                continue
            with sessions() as session:  # it may have been finished, or removed, since it was found
                still = session.scalar(select(Workspace.id).where(Workspace.id == workspace_id, gone))
            if still is None:
                continue
            try:
                remove(sessions, workspace_id)
                removed += 1
            except OSError as error:
                failed.append(f"{name} of {owner}: {error}")
    return Removed(removed, tuple(failed))


def _lapsed(grace: timedelta) -> ColumnElement[bool]:
    """``removed_at`` is past, in SQL."""
    changed = and_(Workspace.writable, Workspace.key.is_(None))
    return Workspace.expires_at <= case((changed, func.now() - grace), else_=func.now())


def remove(sessions: SessionFactory, workspace_id: int, *, placed: bool = True) -> None:
    """Remove the files of a workspace and then its row. The caller has its turn.

    Args:
        placed: False: its files have never got to its place, so that what is there is not its own.
    """
    with sessions() as session:
        going = session.get(Workspace, workspace_id, with_for_update={"of": Workspace})
        if going is None:
            return
        going.state, place = "discarding", Path(going.path)
    reach("workspace.discarding")
    remove_files(place, workspace_id, placed=placed)
    reach("workspace.files-removed")
    with sessions() as session:
        going = session.get(Workspace, workspace_id, with_for_update={"of": Workspace})
        if going is not None:
            session.delete(going)
