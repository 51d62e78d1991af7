"""Where two versions come from."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion, DatasetVersionParent


def ancestors(session: Session, version: DatasetVersion) -> set[int]:
    """Ids of a version, its parents, their parents, and so on."""
    line = select(DatasetVersion.id.label("id")).where(DatasetVersion.id == version.id).cte("line", recursive=True)
    line = line.union(select(DatasetVersionParent.parent_id).join(line, DatasetVersionParent.version_id == line.c.id))
    return set(session.scalars(select(line.c.id)))


def merge_base(session: Session, ours: DatasetVersion, theirs: DatasetVersion) -> DatasetVersion | None:
    """The nearest common ancestor: one that comes before no other one. None when nothing is shared.

    A parent is always older than its child, so that the newest common ancestor comes before no other. Where
    merges crossed and there are several such, it is the newest of them.
    """
    common = ancestors(session, ours) & ancestors(session, theirs)
    return session.get_one(DatasetVersion, max(common)) if common else None
