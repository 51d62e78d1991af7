"""Where a version comes from and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, DatasetBranch, DatasetVersion, DatasetVersionParent, Round
from learnloop.datasets.branches import ancestors
from learnloop.datasets.reading import readers
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
    version = visible_version(session, name, user)
    dataset = session.get_one(Dataset, version.dataset_id)
    children = (
        select(DatasetVersion.name)
        .join(DatasetVersionParent, DatasetVersionParent.version_id == DatasetVersion.id)
        .where(DatasetVersionParent.parent_id == version.id, _visible(user))
        .order_by(DatasetVersion.id)
    )
    rounds = select(Round.number).where(or_(Round.base_version_id == version.id, Round.version_id == version.id))
    purpose = select(DatasetBranch.purpose).where(DatasetBranch.version_id == version.id)
    return VersionDetails(
        name=version.name,
        dataset=dataset.name,
        tree=version.tree,
        files=version.files,
        bytes=version.bytes,
        owner=version.owner,
        created_at=version.created_at,
        message=version.message,
        kind=version.provenance.get("kind", ""),
        run_id=version.provenance.get("run_id", ""),
        provenance=version.provenance,
        personal_to=version.personal_to,
        line=_line(session, dataset, version),
        parents=tuple(parent.name for parent in version.parents if parent.personal_to in (None, user)),
        children=tuple(session.scalars(children)),
        rounds=tuple(session.scalars(rounds.order_by(Round.number))),
        readers=tuple(Reader(lease.owner, lease.purpose, lease.expires_at) for lease in readers(session, version)),
        branch_purpose=session.scalar(purpose),
    )


def lineage(session: Session, name: str, *, user: str | None = None, limit: int = 1000) -> Lineage:
    """A version and up to ``limit`` of its nearest ancestors that ``user`` may see.

    Raises:
        NotFound: there is no such version for ``user``.
    """
    version = visible_version(session, name, user)
    found = session.execute(
        select(DatasetVersion)
        .where(DatasetVersion.id.in_(ancestors(version.id)), _visible(user))
        .order_by(DatasetVersion.id.desc())
        .limit(limit + 1)
    )
    nodes = list(found.scalars())
    shown = nodes[:limit]
    names: dict[int, list[str]] = {node.id: [] for node in shown}
    edges = (
        select(DatasetVersionParent.version_id, DatasetVersion.name)
        .join(DatasetVersion, DatasetVersion.id == DatasetVersionParent.parent_id)
        .where(DatasetVersionParent.version_id.in_(names), _visible(user))
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
                kind=node.provenance.get("kind", ""),
                run_id=node.provenance.get("run_id", ""),
                parents=tuple(names[node.id]),
            )
            for node in shown
        ),
        complete=len(nodes) <= limit,
    )


def _visible(user: str | None) -> ColumnElement[bool]:
    return or_(DatasetVersion.personal_to.is_(None), DatasetVersion.personal_to == user)


def _line(session: Session, dataset: Dataset, version: DatasetVersion) -> str:
    if version.personal_to is not None:
        return "personal"
    if dataset.head_id == version.id:
        return "head"
    if dataset.head_id is None:
        return "branch"
    in_line = select(DatasetVersion.id).where(
        DatasetVersion.id == version.id, DatasetVersion.id.in_(ancestors(dataset.head_id))
    )
    return "branch" if session.scalar(in_line) is None else "merged"
