"""Where a version comes from and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, String, and_, bindparam, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session, aliased

from learnloop.database import Dataset, DatasetBranch, DatasetVersion, DatasetVersionParent, Lock, Round
from learnloop.datasets.branches import ancestors
from learnloop.datasets.versions import get_version
from learnloop.errors import NotFound


@dataclass(frozen=True)
class Reader:
    """A live read lease."""

    owner: str
    purpose: str
    until: datetime


@dataclass(frozen=True)
class VersionDetails:
    """One version: its content, who made it when and why, and its place among the others.

    ``kind`` and ``run_id`` are of the job that made it (a snapshot, a merge, ...). ``rounds`` are the numbers of the
    rounds that stand on it. ``line`` says how it lies to the head: ``head``, ``merged`` (the head descends from
    it), ``branch`` (shared and not merged) or ``personal``.
    """

    name: str
    dataset: str
    tree: str
    files: int
    bytes: int
    owner: str
    created_at: datetime
    message: str
    kind: str
    run_id: str
    provenance: Mapping[str, Any]
    personal_to: str | None
    line: str
    parents: tuple[str, ...]
    children: tuple[str, ...]
    rounds: tuple[int, ...]
    readers: tuple[Reader, ...]
    branch_purpose: str | None


@dataclass(frozen=True)
class LineageNode:
    """A version in a lineage; ``parents`` in order: what it continues first, then what was merged into it."""

    name: str
    tree: str
    owner: str
    created_at: datetime
    message: str
    kind: str
    run_id: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Lineage:
    """A version and its ancestors, newest first. ``complete`` is False when the limit cut it short."""

    version: str
    nodes: tuple[LineageNode, ...]
    complete: bool


def visible_version(session: Session, name: str, user: str | None) -> DatasetVersion:
    """The version called so, if it is shared or personal to ``user``; raises NotFound."""
    version = get_version(session, name)
    if version.personal_to not in (None, user):
        raise NotFound(f"there is no dataset version {name!r}")
    return version


def show(session: Session, name: str, *, user: str | None = None) -> VersionDetails:
    """One version with its lineage.

    Args:
        user: sees what is personal to them beside what is shared.

    Raises:
        NotFound: there is no such version for ``user``.
    """
    found = session.execute(_SHOWN, {"name": name, "user": user}).one_or_none()
    if found is None:
        raise _not_visible(session, name)
    leases = session.execute(_READERS, {"version": found.id})
    provenance = found.provenance
    return VersionDetails(
        name=found.name,
        dataset=found.dataset,
        tree=found.tree,
        files=found.files,
        bytes=found.bytes,
        owner=found.owner,
        created_at=found.created_at,
        message=found.message,
        kind=provenance.get("kind", ""),
        run_id=provenance.get("run_id", ""),
        provenance=provenance,
        personal_to=found.personal_to,
        line=_line(session, found),
        parents=tuple(found.parents or ()),
        children=tuple(found.children or ()),
        rounds=tuple(found.rounds or ()),
        readers=tuple(Reader(*lease) for lease in leases),
        branch_purpose=found.branch_purpose,
    )


def lineage(session: Session, name: str, *, user: str | None = None, limit: int = 1000) -> Lineage:
    """A version and up to ``limit`` of its nearest ancestors that ``user`` may see.

    Raises:
        NotFound: there is no such version for ``user``.
    """
    version = visible_version(session, name, user)
    found = session.execute(
        select(
            DatasetVersion.id,
            DatasetVersion.name,
            DatasetVersion.tree,
            DatasetVersion.owner,
            DatasetVersion.created_at,
            DatasetVersion.message,
            DatasetVersion.provenance["kind"].as_string().label("kind"),
            DatasetVersion.provenance["run_id"].as_string().label("run_id"),
        )
        .where(DatasetVersion.id.in_(ancestors(version.id)), _visible(user))
        .order_by(DatasetVersion.id.desc())
        .limit(limit + 1)
    )
    nodes = list(found)
    shown = nodes[:limit]
    names: dict[int, list[str]] = {node.id: [] for node in shown}
    edges = (
        select(DatasetVersionParent.version_id, DatasetVersion.name)
        .join(DatasetVersion, DatasetVersion.id == DatasetVersionParent.parent_id)
        .where(DatasetVersionParent.version_id == func.any(list(names)), _visible(user))
        .order_by(DatasetVersionParent.version_id, DatasetVersionParent.position)
    )
    for child, parent in session.execute(edges):
        names[child].append(parent)
    return Lineage(
        version=version.name,
        nodes=tuple(
            LineageNode(
                name=node.name,
                tree=node.tree,
                owner=node.owner,
                created_at=node.created_at,
                message=node.message,
                kind=node.kind or "",
                run_id=node.run_id or "",
                parents=tuple(names[node.id]),
            )
            for node in shown
        ),
        complete=len(nodes) <= limit,
    )


def _visible(user: Any, version: Any = DatasetVersion) -> ColumnElement[bool]:
    return or_(version.personal_to.is_(None), version.personal_to == user)


_version, _parent, _child, _later = (aliased(DatasetVersion) for _ in range(4))
_user, _id = bindparam("user", type_=String), bindparam("version", type_=Integer)


def _in_order(values: Any, order: Any) -> Any:
    return select(func.array_agg(aggregate_order_by(values, order)))


_SHOWN = (
    select(
        _version.id,
        _version.name,
        _version.tree,
        _version.files,
        _version.bytes,
        _version.owner,
        _version.created_at,
        _version.message,
        _version.provenance,
        _version.personal_to,
        Dataset.name.label("dataset"),
        Dataset.head_id,
        DatasetBranch.id.label("branch"),
        DatasetBranch.purpose.label("branch_purpose"),
        _in_order(_parent.name, DatasetVersionParent.position)
        .select_from(DatasetVersionParent)
        .join(_parent, _parent.id == DatasetVersionParent.parent_id)
        .where(DatasetVersionParent.version_id == _version.id, _visible(_user, _parent))
        .scalar_subquery()
        .label("parents"),
        _in_order(_child.name, _child.id)
        .select_from(DatasetVersionParent)
        .join(_child, _child.id == DatasetVersionParent.version_id)
        .where(DatasetVersionParent.parent_id == _version.id, _visible(_user, _child))
        .scalar_subquery()
        .label("children"),
        _in_order(Round.number, Round.number)
        .where(or_(Round.base_version_id == _version.id, Round.version_id == _version.id))
        .scalar_subquery()
        .label("rounds"),
    )
    .join(Dataset, Dataset.id == _version.dataset_id)
    .outerjoin(DatasetBranch, DatasetBranch.version_id == _version.id)
    .where(_version.name == bindparam("name"), _visible(_user, _version))
)
_READERS = (
    select(Lock.owner, Lock.purpose, Lock.expires_at)
    .where(Lock.mode == "read", Lock.version_id == _id, Lock.expires_at > func.clock_timestamp())
    .order_by(Lock.expires_at)
)


def _in_line(version: Any) -> ColumnElement[bool]:
    """Whether the head descends from a version, or is it: shared, and committed to the head and not to a branch.

    For a commit to the head continues the head, and neither the head nor what has children is ever deleted.
    """
    on_a_branch = exists().where(DatasetBranch.version_id == version.id)
    return and_(version.personal_to.is_(None), ~on_a_branch)


def _merged() -> Select[Any]:
    """Whether a version of a branch has come into the head's line.

    Looks at what was made from it, and at what was made from that, but no further than to the line: it costs as much as
    there is beside the line, however long that is.
    """
    beside = select(_id.label("id"), literal(False).label("in_line")).cte("beside", recursive=True)
    made = (
        select(_later.id, _in_line(_later))
        .join(DatasetVersionParent, DatasetVersionParent.version_id == _later.id)
        .join(beside, beside.c.id == DatasetVersionParent.parent_id)
        .where(~beside.c.in_line)
    )
    beside = beside.union(made)
    return select(exists().where(beside.c.in_line))


_MERGED = _merged()


def _line(session: Session, version: Any) -> str:
    if version.personal_to is not None:
        return "personal"
    if version.head_id == version.id:
        return "head"
    if version.branch is None or session.scalar(_MERGED, {"version": version.id}):
        return "merged"
    return "branch"


def _not_visible(session: Session, name: str) -> NotFound:
    get_version(session, name)  # says more of one that was deleted
    return NotFound(f"there is no dataset version {name!r}")
