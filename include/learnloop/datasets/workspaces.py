"""Workspaces: private checkouts that their owners may change, and make versions of.

A workspace is copy-on-write where the filesystem can (reflink), else a copy: never a hardlink that could be written
through, for root ignores the mode of a file. Its row comes before its files and goes after them, so that whatever a
killed process leaves is known by its row: see ``workspace_removal``.

Functions that put or read many files take ``sessions``, such as ``learnloop.database.session``: what they do is more
than one transaction.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.base import ExecutableOption

from learnloop.database import DatasetVersion, Workspace
from learnloop.datasets import copies, durable
from learnloop.datasets.adding import Progress
from learnloop.datasets.contents import config_of
from learnloop.datasets.history import visible_version
from learnloop.datasets.labelling import put_labels
from learnloop.datasets.names import check_line, check_person
from learnloop.datasets.numbering import bump_between
from learnloop.datasets.roots import hold
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import ensure_hot
from learnloop.datasets.turns import take_turn
from learnloop.datasets.uses import record_use
from learnloop.datasets.versions import Stored, commit_head
from learnloop.datasets.versions import commit as commit_version
from learnloop.datasets.workspace_contents import TABLES, config_in, features_fit, files_in, take
from learnloop.datasets.workspace_files import place_of, refuse_escapes, refuse_linked, staging_of
from learnloop.datasets.workspace_removal import SessionFactory, remove, turn_of
from learnloop.errors import Conflict, InvalidInput, LearnloopError, NotFound
from learnloop.faultpoints import reach


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
    progress: Progress | None = None,
) -> Workspace:
    """Check a version out as ``owner``'s workspace ``name``, at ``{namespaces}/data/{owner}/workspaces/{name}``.

    Args:
        writable: files of its own. Otherwise links to the store, which must not be written to.
        lasts: it expires after this long, and upkeep removes it (`workspace_removal`); None: it stays until it is
            discarded.
        key: names the piece of work: again with it gives the same workspace, finished if it was not.
        progress: called with (files placed, files) now and then; before that, for a version that is not in the store,
            with the objects recalled and their number.

    Raises:
        NotFound: there is no such version, or it is somebody else's.
        InvalidInput: the name cannot be, or the folder leads out of the namespace.
        Conflict: the name is taken, or the quota is used up; the message says by what.
        Corrupted: stored bytes are damaged; no workspace remains.
    """
    check_person(owner)
    if lasts is not None and lasts <= timedelta(0):
        raise InvalidInput(f"a workspace must last longer than nothing, not {lasts}")
    place = place_of(namespaces, owner, name)
    with sessions() as turn:
        take_turn(turn, turn_of(owner, name))
        with sessions() as session:
            same = _of_work(session, owner, key)
            if same is not None and same.state == "ready":
                return same
            # Its turn is ours: what has the name or the key and is not ready, a dead process left.
            dead = [other.id for other in list_workspaces(session, owner=owner) if _is_left(other, name, key)]
        for workspace_id in dead:
            remove(sessions, workspace_id)
        workspace_id = _reserve(sessions, version_name, owner, name, place, quota, writable, lasts, key)
        reach("workspace.row-written")
        try:
            with sessions() as session:
                base = session.get_one(Workspace, workspace_id).base
                ensure_hot(session, store, base, progress=progress)
                record_use(session, base, "workspace", owner)
                # Below a folder that the row names: what a killed checkout leaves beside its target goes with it.
                target = staging_of(place, workspace_id) / "files"
                store.checkout(store.read_tree(base.tree), target, writable=writable, progress=progress)
        except (LearnloopError, OSError):
            remove(sessions, workspace_id, placed=False)
            raise
        reach("workspace.files-placed")
        return _ready(sessions, workspace_id, place)


def get(session: Session, name: str, *, owner: str) -> Workspace:
    """``owner``'s ready workspace of that name; raises NotFound. Other people's do not exist for them."""
    found = session.scalar(
        select(Workspace).where(Workspace.owner == owner, Workspace.name == name, Workspace.state == "ready")
    )
    if found is None:
        raise NotFound(f"{owner} has no workspace {name!r}")
    return found


def list_workspaces(session: Session, *options: ExecutableOption, owner: str) -> list[Workspace]:
    """``owner``'s workspaces, oldest first. ``options``: SQLAlchemy's, such as what to load with them."""
    mine = select(Workspace).where(Workspace.owner == owner).order_by(Workspace.id)
    return list(session.scalars(mine.options(*options)))


def changes(session: Session, store: Store, workspace: Workspace) -> Changes:
    """What differs from the base. Every file is read, so a change that kept size and time is seen too.

    Raises:
        InvalidDataset: it holds what cannot be tracked, or links that lead out of it.
    """
    base = store.read_tree(session.get_one(DatasetVersion, workspace.base_id).tree)
    folder = Path(workspace.path)
    now = {}
    for path in files_in(folder):
        with (folder / path).open("rb") as file:
            now[path] = copies.md5_of(file)
    return Changes(
        added=tuple(path for path in now if path not in base),
        changed=tuple(path for path, md5 in now.items() if path in base and base[path] != md5),
        removed=tuple(path for path in base if path not in now),
    )


def label(sessions: SessionFactory, name: str, labels: Path, *, owner: str) -> int:
    """Put the labels of a Parquet file into a workspace, as ``put_labels`` does and raises.

    Raises:
        NotFound: ``owner`` has no such workspace.
        InvalidInput: the workspace is read-only.
    """
    with sessions() as turn:
        take_turn(turn, turn_of(owner, name))
        with sessions() as session:
            folder = _own_folder(session, name, owner)
        refuse_escapes(folder, TABLES)
        return put_labels(folder, labels, annotator=owner)


def commit(
    sessions: SessionFactory,
    store: Store,
    name: str,
    *,
    owner: str,
    message: str,
    token: int | None = None,
    progress: Progress | None = None,
) -> DatasetVersion:
    """Make a version of a workspace as it is, and its new base; the base itself when nothing has changed.

    Args:
        token: of a write lock: the version is shared and becomes the head. None: it is personal to ``owner``.
        progress: called with (files added to the store, files) now and then.

    Raises:
        NotFound: ``owner`` has no such workspace.
        InvalidInput: the workspace is read-only.
        InvalidDataset: it does not hold the dataset any more: another ``dataset.yaml``, a table with a wrong key, or
            links that lead out of it.
        Conflict: a file changed while it was read; or, for a shared version, the head is not the base any more.
        StaleToken: the write lock is no longer held.
    """
    check_line(message, "a message")
    with sessions() as turn:
        take_turn(turn, turn_of(owner, name))
        with sessions() as session:
            folder = _own_folder(session, name, owner)
            workspace = get(session, name, owner=owner)
            base = workspace.base
        before, config = config_of(store, base), config_in(folder, config_of(store, base))
        tree, size = take(store, folder, progress)
        tree_hash = store.write_tree(tree)
        reach("workspace.objects-written")
        if tree_hash == base.tree:
            return base
        provenance = {"kind": "workspace", "workspace": name}
        if before == config and "recipe" in base.provenance and features_fit(store, base, tree):
            # Whoever trains on this version need not preprocess it again.
            provenance["recipe"] = base.provenance["recipe"]
        with sessions() as session:
            hold(session, store, tree_hash)
            workspace = session.get_one(Workspace, workspace.id, with_for_update={"of": Workspace})
            stored: Stored = {
                "files": len(tree),
                "bytes": size,
                "owner": owner,
                "message": message,
                "provenance": provenance,
            }
            # Once for this content on this base: a retry after a crash finds what was made.
            key = f"workspace:{workspace.id}:{workspace.base_id}:{tree_hash}"
            if token is None:
                made = commit_version(
                    session,
                    workspace.dataset,
                    tree_hash,
                    parents=[workspace.base],
                    expected_head_id=workspace.base_id,
                    token=None,
                    bump=bump_between(before, config),
                    personal_to=owner,
                    idempotency_key=key,
                    **stored,
                )
            else:
                made = commit_head(
                    session,
                    workspace.dataset,
                    tree_hash,
                    config=config,
                    previous=before,
                    parents=[workspace.base],
                    token=token,
                    idempotency_key=key,
                    **stored,
                )
            workspace.base, workspace.bytes = made, size
            session.flush()
            reach("workspace.version-written")
        return made


def _own_folder(session: Session, name: str, owner: str) -> Path:
    """The folder of a workspace that may be changed."""
    workspace = get(session, name, owner=owner)
    if not workspace.writable:
        raise InvalidInput(f"workspace {name} is read-only: make a writable one of {workspace.base.name}")
    folder = Path(workspace.path)
    refuse_linked(folder)
    return folder


# --- how a workspace comes to be; the caller has its turn ---


def _of_work(session: Session, owner: str, key: str | None) -> Workspace | None:
    if key is None:
        return None
    return session.scalar(select(Workspace).where(Workspace.owner == owner, Workspace.key == key))


def _is_left(other: Workspace, name: str, key: str | None) -> bool:
    return other.state != "ready" and (other.name == name or (key is not None and other.key == key))


def _reserve(
    sessions: SessionFactory,
    version_name: str,
    owner: str,
    name: str,
    place: Path,
    quota: Quota,
    writable: bool,
    lasts: timedelta | None,
    key: str | None,
) -> int:
    """Write the row, within the quota; its id."""
    with sessions() as session:
        # One at a time for each person, so that two at once cannot both have the last of the quota.
        take_turn(session, f"workspaces {owner}")
        version = visible_version(session, version_name, owner)
        _check_quota(session, version, owner, name, quota)
        if place.exists():
            raise Conflict(f"{place} is there, and belongs to no workspace: move it away")
        made = Workspace(
            dataset_id=version.dataset_id,
            base_id=version.id,
            name=name,
            key=key,
            path=str(place),
            writable=writable,
            bytes=version.bytes,
            owner=owner,
            expires_at=None if lasts is None else func.now() + lasts,
        )
        session.add(made)
        session.flush()
        return made.id


def _check_quota(session: Session, version: DatasetVersion, owner: str, name: str, quota: Quota) -> None:
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


def _ready(sessions: SessionFactory, workspace_id: int, place: Path) -> Workspace:
    staging = staging_of(place, workspace_id)
    with sessions() as session:
        made = session.get(Workspace, workspace_id, with_for_update={"of": Workspace})
        if made is None or made.state != "creating":
            # The connection that had our turn broke, and upkeep took this process for a dead one.
            shutil.rmtree(staging)
            raise Conflict(f"workspace {place.name} was removed while it was being made: make it again")
        (staging / "files").rename(place)
        staging.rmdir()
        durable.sync([place.parent])
        reach("workspace.renamed")
        made.state = "ready"
        session.flush()
        session.refresh(made)
    return made
