"""Deleting a version: refused while anything refers to it; what would go can be asked first.

Deleting removes the row and leaves a note in its place, in one transaction. The bytes stay for the garbage collector,
which alone knows what else may need them.

What refers to a version is found in two ways. Every foreign key to ``dataset_versions`` counts, so that a new table
protects the versions it names without anybody remembering to say so, unless it declares what becomes of its rows
(``ON DELETE CASCADE`` or ``SET NULL``). And ``referrer`` registers a function that says it in better words, or finds
what no foreign key shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import Column, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError
from sqlalchemy.orm import Session

from learnloop.database import (
    Base,
    Dataset,
    DatasetBranch,
    DatasetVersion,
    DatasetVersionParent,
    DeletedVersion,
    Lock,
    MergeRequest,
    Round,
)
from learnloop.datasets import locks
from learnloop.datasets.names import check_person
from learnloop.datasets.reading import readers
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_version
from learnloop.errors import Conflict, NotFound
from learnloop.faultpoints import reach

Referrer = Callable[[Session, DatasetVersion], Iterable[str]]

_REFERRERS: list[Referrer] = []
# Columns whose rows a registered function tells of.
_TOLD: set[str] = set()


@dataclass(frozen=True)
class Deletion:
    """What was deleted, or would be. ``objects`` and ``bytes`` are what no other version or batch needs."""

    version: str
    tree: str
    refused_by: tuple[str, ...]
    objects: int
    bytes: int
    deleted: bool


def referrer(*columns: str) -> Callable[[Referrer], Referrer]:
    """Register a function that says, a sentence each, what refers to a version.

    Args:
        columns: the foreign keys (``table.column``) that it tells of. A row it is silent about must be gone, or be
            set to null by the database, when the version is deleted.
    """

    def register(function: Referrer) -> Referrer:
        _REFERRERS.append(function)
        _TOLD.update(columns)
        return function

    return register


def referrers_of(session: Session, version: DatasetVersion) -> tuple[str, ...]:
    """Why a version cannot be deleted, a sentence each; empty when it can."""
    found = [sentence for function in _REFERRERS for sentence in function(session, version)]
    for column in _foreign_keys():
        if f"{column.table.name}.{column.name}" not in _TOLD:
            rows = session.scalar(select(func.count()).select_from(column.table).where(column == version.id))
            if rows:
                found.append(f"{rows} of {column.table.name} ({column.name})")
    return tuple(found)


def delete_version(
    session: Session,
    store: Store,
    name: str,
    *,
    by: str,
    allow: Callable[[DatasetVersion], None],
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Deletion:
    """Delete a version, or say with ``dry_run`` what would go and what stands in the way.

    Args:
        by: who deletes it; the note that stays says so.
        allow: raises when they may not (``PermissionDenied``); it is asked before anything else is looked at.
        progress: called with (trees read, trees to read) while it is found out what only this version needs.

    Raises:
        NotFound: there is no such version.
        Conflict: something refers to it; each referrer is named, and nothing is changed.
    """
    check_person(by)
    version = get_version(session, name)
    allow(version)
    if dry_run:
        objects, size = _only_here(session, store, version, progress)
        return Deletion(name, version.tree, referrers_of(session, version), objects, size, deleted=False)
    objects, size = _only_here(session, store, version, progress)
    locks.hold_row(session, session.get_one(Dataset, version.dataset_id))
    _hold_version(session, version)
    _end_lapsed(session, version)
    if refused_by := referrers_of(session, version):
        raise Conflict(_refusal(name, refused_by))
    try:
        with session.begin_nested():
            _leave_note(session, version, by)
            session.execute(delete(DatasetVersion).where(DatasetVersion.id == version.id))
    except IntegrityError as error:
        detail = getattr(getattr(error.orig, "diag", None), "message_detail", None) or str(error.orig)
        raise Conflict(_refusal(name, [detail])) from error
    reach("delete.row-removed")
    session.expunge(version)
    return Deletion(name, version.tree, (), objects, size, deleted=True)


# --- what refers to a version ---


@referrer("datasets.head_id")
def _head(session: Session, version: DatasetVersion) -> Iterator[str]:
    for name in session.scalars(select(Dataset.name).where(Dataset.head_id == version.id)):
        yield f"it is the head of dataset {name}"


@referrer("dataset_version_parents.parent_id")
def _children(session: Session, version: DatasetVersion) -> Iterator[str]:
    children = (
        select(DatasetVersion.name)
        .join(DatasetVersionParent, DatasetVersionParent.version_id == DatasetVersion.id)
        .where(DatasetVersionParent.parent_id == version.id)
        .order_by(DatasetVersion.id)
    )
    yield from (f"{name} was made from it" for name in session.scalars(children))


@referrer("dataset_branches.base_id", "dataset_branches.version_id")
def _branches(session: Session, version: DatasetVersion) -> Iterator[str]:
    live = select(DatasetBranch).where(
        DatasetBranch.base_id == version.id,
        DatasetBranch.state == "open",
        DatasetBranch.expires_at > func.clock_timestamp(),
    )
    for branch in session.scalars(live.order_by(DatasetBranch.id)):
        yield f"{branch.owner} works on branch {branch.name} of it until {branch.expires_at:%Y-%m-%d %H:%M:%S %Z}"


@referrer("locks.version_id")
def _readers(session: Session, version: DatasetVersion) -> Iterator[str]:
    for lease in readers(session, version):
        why = f" ({lease.purpose})" if lease.purpose else ""
        yield f"{lease.owner} reads it{why} until {lease.expires_at:%Y-%m-%d %H:%M:%S %Z}"


@referrer("rounds.base_version_id", "rounds.version_id")
def _rounds(session: Session, version: DatasetVersion) -> Iterator[str]:
    pinned = select(Round).where((Round.base_version_id == version.id) | (Round.version_id == version.id))
    for used in session.scalars(pinned.order_by(Round.number)):
        model = f" and model {used.model_name}:{used.model_version}" if used.model_version is not None else ""
        yield f"round {used.number} ({used.state}){model} stand on it"


@referrer(*(f"merge_requests.{name}_id" for name in ("base", "ours", "theirs", "version")))
def _merges(session: Session, version: DatasetVersion) -> Iterator[str]:
    requests = select(MergeRequest).where(
        MergeRequest.state == "open",
        or_(MergeRequest.base == version, MergeRequest.ours == version, MergeRequest.theirs == version),
    )
    for merge in session.scalars(requests.order_by(MergeRequest.id)):
        yield f"merge {merge.id} of {merge.theirs.name} is open: complete or cancel it"


def _foreign_keys() -> Iterator[Column[Any]]:
    """Every column of the schema that refers to a version and keeps it."""
    for table in Base.metadata.sorted_tables:
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
            if key.target_fullname == "dataset_versions.id" and key.ondelete is None:
                yield key.parent


# --- what deleting does ---


def _hold_version(session: Session, version: DatasetVersion) -> None:
    """Keep new rows from referring to the version until this transaction ends."""
    try:
        with session.begin_nested():
            # Not waiting: whoever is about to refer to it may be waiting for the dataset's row, which is held here.
            session.refresh(version, with_for_update={"nowait": True})
    except InvalidRequestError as error:
        raise NotFound(f"dataset version {version.name!r} was deleted meanwhile") from error
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        raise Conflict(f"{version.name} cannot be deleted, somebody begins to use it just now: try again") from error


def _refusal(name: str, reasons: Iterable[str]) -> str:
    return "\n".join([f"{name} cannot be deleted, it is still needed:", *(f"  - {reason}" for reason in reasons)])


def _end_lapsed(session: Session, version: DatasetVersion) -> None:
    """What has lapsed no longer refers to the version."""
    now = func.clock_timestamp()
    session.execute(delete(Lock).where(Lock.version_id == version.id, Lock.expires_at <= now))
    session.execute(
        update(DatasetBranch)
        .where(DatasetBranch.base_id == version.id, DatasetBranch.state == "open", DatasetBranch.expires_at <= now)
        .values(state="abandoned")
    )


def _leave_note(session: Session, version: DatasetVersion, by: str) -> None:
    session.add(
        DeletedVersion(
            dataset_id=version.dataset_id,
            name=version.name,
            major=version.major,
            minor=version.minor,
            personal_to=version.personal_to,
            details={
                "tree": version.tree,
                "parents": [parent.name for parent in version.parents],
                "owner": version.owner,
                "created_at": version.created_at.isoformat(),
                "message": version.message,
                "provenance": version.provenance,
            },
            owner=by,
        )
    )
    session.flush()
    reach("delete.note-written")


def _only_here(
    session: Session, store: Store, version: DatasetVersion, progress: Callable[[int, int], None] | None
) -> tuple[int, int]:
    """How many objects no other tree of the database names, and their bytes, the tree's own among them."""
    trees = _other_trees(session, version)
    if version.tree in trees:
        return 0, 0
    mine = set(store.read_tree(version.tree).values())
    for done, tree in enumerate(trees, start=1):
        if not mine:
            break
        mine.difference_update(store.read_tree(tree).values())
        if progress is not None:
            progress(done, len(trees))
    return len(mine) + 1, sum(map(store.size_of, mine)) + store.size_of(version.tree)


def _other_trees(session: Session, version: DatasetVersion) -> list[str]:
    """The trees of everything else, those of the same dataset first: they have the most in common with it.

    Every table that keeps a tree calls the column so.
    """
    trees: dict[str, None] = {}
    same = select(DatasetVersion.tree).where(
        DatasetVersion.dataset_id == version.dataset_id, DatasetVersion.id != version.id
    )
    trees.update(dict.fromkeys(session.scalars(same.order_by(DatasetVersion.id.desc()))))
    for table in Base.metadata.sorted_tables:
        if "tree" in table.c:
            others = select(table.c.tree).where(table.c.tree.is_not(None)).distinct()
            if table.name == DatasetVersion.__tablename__:
                others = others.where(table.c.id != version.id)
            trees.update(dict.fromkeys(session.scalars(others)))
    return list(trees)
