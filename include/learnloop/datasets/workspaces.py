"""Workspaces: private checkouts that their owners may change, and make versions of.

A workspace is copy-on-write where the filesystem can (reflink), else a copy: never a hardlink that could be written
through, for root ignores the mode of a file. Its row comes before its files and goes after them, so that whatever a
killed process leaves is known by its row: see ``remove_dead``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion, Workspace
from learnloop.datasets import copies
from learnloop.datasets.contents import config_of
from learnloop.datasets.files import list_files
from learnloop.datasets.history import visible_version
from learnloop.datasets.roots import hold
from learnloop.datasets.schema import CONFIG_FILE, read_config
from learnloop.datasets.store import Store
from learnloop.datasets.tables import ANNOTATIONS, ANNOTATIONS_FILE, read_table
from learnloop.datasets.tiers import ensure_hot
from learnloop.datasets.uses import record_use
from learnloop.datasets.versions import commit as commit_version
from learnloop.errors import Conflict, InvalidDataset, InvalidInput, NotFound
from learnloop.faultpoints import reach
from learnloop.jobs.namespace import user_folder

SessionFactory = Callable[[], AbstractContextManager[Session]]

DEAD_AFTER = timedelta(hours=6)
"""A workspace that is still being made or removed after this long is one whose process has died."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Quota:
    """What one person may have at once."""

    workspaces: int
    bytes: int


@dataclass(frozen=True)
class Changes:
    """Paths that differ between a workspace and its base, each sorted."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def create(
    sessions: SessionFactory,
    store: Store,
    version_name: str,
    *,
    owner: str,
    name: str,
    namespaces: Path,
    quota: Quota,
    writable: bool = True,
    lasts: timedelta | None = None,
    key: str | None = None,
) -> Workspace:
    """Check a version out as ``owner``'s workspace ``name``, at ``{namespaces}/data/{owner}/workspaces/{name}``.

    Args:
        sessions: such as ``learnloop.database.session``: the row is committed before the files are placed.
        writable: files of its own. Otherwise links to the store, which must not be written to.
        lasts: upkeep discards it after this long; None: it stays until it is discarded.
        key: names the piece of work: again with it gives the same workspace, finished if it was not.

    Raises:
        NotFound: there is no such version, or it is somebody else's.
        InvalidInput: the name cannot be, or the folder leads out of the namespace.
        Conflict: the name is taken, or the quota is used up; the message says by what.
        Corrupted: stored bytes are damaged; no workspace remains.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"a workspace cannot be called {name!r}: 1 to 63 lower-case letters, digits and '-', not '-' first"
        )
    path = namespaces / "data" / user_folder(owner) / "workspaces" / name
    _refuse_links(namespaces, path)
    with sessions() as turn:
        # Two that make the same workspace take turns; the second finds it made. Ends with the process, if it dies.
        _take_turn(turn, f"workspace {owner} {name}")
        return _create(sessions, store, version_name, owner, name, path, quota, writable, lasts, key)


def _create(
    sessions: SessionFactory,
    store: Store,
    version_name: str,
    owner: str,
    name: str,
    path: Path,
    quota: Quota,
    writable: bool,
    lasts: timedelta | None,
    key: str | None,
) -> Workspace:
    with sessions() as session:
        # One at a time for each person, so that two at once cannot both have the last of the quota.
        _take_turn(session, f"workspaces {owner}")
        version = visible_version(session, version_name, owner)
        made = _find_by_key(session, owner, key)
        if made is not None and made.state == "ready":
            return made
        if made is None:
            made = _reserve(
                session, version, owner=owner, name=name, path=path, quota=quota, writable=writable, key=key
            )
            made.expires_at = None if lasts is None else func.now() + lasts
            session.add(made)
            session.flush()
        workspace_id, tree = made.id, version.tree
        ensure_hot(session, store, version)
        record_use(session, version, "workspace", owner)
    reach("workspace.row-written")
    try:
        shutil.rmtree(path, ignore_errors=True)  # only an attempt that died can have left something here
        store.checkout(store.read_tree(tree), path, writable=writable)
    except Exception:
        _remove(sessions, workspace_id)
        raise
    reach("workspace.files-placed")
    with sessions() as session:
        done = session.get_one(Workspace, workspace_id, with_for_update=True)
        done.state = "ready"
        session.flush()
        session.refresh(done)
        return done


def get(session: Session, name: str, *, owner: str) -> Workspace:
    """``owner``'s ready workspace of that name; raises NotFound. Other people's do not exist for them."""
    found = session.scalar(
        select(Workspace).where(Workspace.owner == owner, Workspace.name == name, Workspace.state == "ready")
    )
    if found is None:
        raise NotFound(f"{owner} has no workspace {name!r}")
    return found


def list_workspaces(session: Session, *, owner: str) -> list[Workspace]:
    """``owner``'s workspaces, oldest first."""
    return list(session.scalars(select(Workspace).where(Workspace.owner == owner).order_by(Workspace.id)))


def changes(session: Session, store: Store, workspace: Workspace) -> Changes:
    """What differs from the base. Every file is read, so a change that kept size and time is seen too."""
    base = store.read_tree(session.get_one(DatasetVersion, workspace.base_id).tree)
    folder = Path(workspace.path)
    now = {}
    for path in list_files(folder):
        with (folder / path).open("rb") as file:
            now[path] = copies.md5_of(file)
    return Changes(
        added=tuple(path for path in now if path not in base),
        changed=tuple(path for path, md5 in now.items() if path in base and base[path] != md5),
        removed=tuple(path for path in base if path not in now),
    )


def commit(
    sessions: SessionFactory, store: Store, workspace_id: int, *, owner: str, message: str, token: int | None = None
) -> DatasetVersion:
    """Make a version of a workspace as it is, and its new base; the base itself when nothing has changed.

    Args:
        token: of a write lock: the version is shared and becomes the head. None: it is personal to ``owner``.

    Raises:
        NotFound: ``owner`` has no such workspace.
        InvalidDataset: it does not hold the dataset any more: another ``dataset.yaml``, or a table with a wrong key.
        Conflict: a file changed while it was read; or, for a shared version, the head is not the base any more.
        StaleToken: the write lock is no longer held.
    """
    with sessions() as session:
        workspace = _own(session, workspace_id, owner)
        folder, base_tree = Path(workspace.path), workspace.base.tree
        before = config_of(store, workspace.base)
    config = read_config(folder)
    if (config.name, config.task_type) != (before.name, before.task_type):
        raise InvalidDataset(
            f"{folder / CONFIG_FILE} is of {config.name} ({config.task_type}), but the workspace was made from"
            f" {before.name} ({before.task_type}): put its name and task type back"
        )
    if (folder / ANNOTATIONS_FILE).exists():
        read_table(folder / ANNOTATIONS_FILE, ANNOTATIONS)
    tree, size = store.add_folder(folder)
    tree_hash = store.write_tree(tree)
    reach("workspace.objects-written")
    with sessions() as session:
        hold(session, store, tree_hash)
        workspace = _own(session, workspace_id, owner)
        if tree_hash == workspace.base.tree:
            return workspace.base
        if workspace.base.tree != base_tree:
            raise Conflict(f"workspace {workspace.name} was committed by another process meanwhile: look at it again")
        same = (before.classes, before.image) == (config.classes, config.image)
        provenance = {"kind": "workspace", "workspace": workspace.name}
        if same and "recipe" in workspace.base.provenance and _same_tables(store, base_tree, tree):
            # The features still fit: whoever trains on this version need not preprocess it again.
            provenance["recipe"] = workspace.base.provenance["recipe"]
        made = commit_version(
            session,
            workspace.dataset,
            tree_hash,
            files=len(tree),
            bytes=size,
            owner=owner,
            message=message,
            provenance=provenance,
            parents=[workspace.base],
            expected_head_id=workspace.base_id,
            token=token,
            bump="minor" if same else "major",
            personal_to=owner if token is None else None,
            # Once for this content on this base: a retry after a crash finds what was made.
            idempotency_key=f"workspace:{workspace.id}:{workspace.base_id}:{tree_hash}",
        )
        workspace.base = made
        session.flush()
        reach("workspace.version-written")
        return made


def discard(sessions: SessionFactory, name: str, *, owner: str) -> bool:
    """Remove a workspace and its files. False when ``owner`` has none of that name."""
    with sessions() as session:
        workspace_id = session.scalar(select(Workspace.id).where(Workspace.owner == owner, Workspace.name == name))
    if workspace_id is None:
        return False
    _remove(sessions, workspace_id)
    return True


def remove_dead(sessions: SessionFactory) -> int:
    """Remove workspaces that expired, and what processes left that died while making or removing one."""
    with sessions() as session:
        dead = session.scalars(
            select(Workspace.id).where(
                or_(
                    Workspace.expires_at < func.now(),
                    (Workspace.state != "ready") & (Workspace.created_at < func.now() - DEAD_AFTER),
                )
            )
        ).all()
    for workspace_id in dead:
        _remove(sessions, workspace_id)
    return len(dead)


def _reserve(
    session: Session,
    version: DatasetVersion,
    *,
    owner: str,
    name: str,
    path: Path,
    quota: Quota,
    writable: bool,
    key: str | None,
) -> Workspace:
    theirs = list_workspaces(session, owner=owner)
    if any(other.name == name for other in theirs):
        raise Conflict(f"{owner} has a workspace {name!r} already: discard it, or choose another name")
    used = sum(other.bytes for other in theirs)
    names = ", ".join(f"{other.name} ({other.bytes / 2**20:.1f} MiB)" for other in theirs)
    if len(theirs) >= quota.workspaces:
        raise Conflict(
            f"{owner} has {len(theirs)} workspaces, and {quota.workspaces} are allowed; discard one: {names}"
        )
    if used + version.bytes > quota.bytes:
        raise Conflict(
            f"{version.name} has {version.bytes / 2**20:.1f} MiB; {owner} uses {used / 2**20:.1f} of"
            f" {quota.bytes / 2**20:.1f} MiB" + (f"; discard one: {names}" if names else "")
        )
    return Workspace(
        dataset_id=version.dataset_id,
        base_id=version.id,
        name=name,
        key=key,
        path=str(path),
        writable=writable,
        bytes=version.bytes,
        owner=owner,
    )


def _take_turn(session: Session, name: str) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def _find_by_key(session: Session, owner: str, key: str | None) -> Workspace | None:
    if key is None:
        return None
    return session.scalar(select(Workspace).where(Workspace.owner == owner, Workspace.key == key))


def _own(session: Session, workspace_id: int, owner: str) -> Workspace:
    found = session.get(Workspace, workspace_id, with_for_update={"of": Workspace}, populate_existing=True)
    if found is None or found.owner != owner or found.state != "ready":
        raise NotFound(f"{owner} has no workspace {workspace_id}")
    return found


def _same_tables(store: Store, base_tree: str, tree: object) -> bool:
    """Whether all but the annotations is as in the base, so that its features still are those of its samples."""
    before = dict(store.read_tree(base_tree))
    after = dict(tree)  # type: ignore[call-overload]
    before.pop(ANNOTATIONS_FILE, None)
    after.pop(ANNOTATIONS_FILE, None)
    return bool(before == after)


def _remove(sessions: SessionFactory, workspace_id: int) -> None:
    with sessions() as session:
        gone = session.get(Workspace, workspace_id, with_for_update=True)
        if gone is None:
            return
        gone.state, path = "discarding", Path(gone.path)
    reach("workspace.discarding")
    if path.exists():
        shutil.rmtree(path)
    reach("workspace.files-removed")
    with sessions() as session:
        gone = session.get(Workspace, workspace_id)
        if gone is not None:
            session.delete(gone)


def _refuse_links(namespaces: Path, path: Path) -> None:
    """A link on the way could lead a workspace into another person's folder, or out of all of them."""
    for place in [path, *path.parents]:
        if place == namespaces:
            return
        if place.is_symlink():
            raise InvalidInput(f"{place} is a link; a namespace's folders must be folders: remove the link")
