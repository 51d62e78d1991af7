"""The history of use: which version was read, when, by whom and what for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion, VersionStorage, VersionUse
from learnloop.errors import InvalidInput

KEPT = 200  # uses remembered of a version


def record_use(session: Session, version: DatasetVersion, kind: str, user: str) -> None:
    """Remember that ``user`` read ``version`` for a ``kind`` of purpose (``restore``, ``job``, ``workspace``).

    The newest ``KEPT`` uses of a version are remembered one by one; beyond these they are counted.
    """
    if not 0 < len(kind) <= 30:
        raise InvalidInput(f"a kind of use has 1 to 30 characters, {kind!r} has {len(kind)}")
    now = func.clock_timestamp()
    session.add(VersionUse(version_id=version.id, kind=kind, owner=user))
    session.execute(
        insert(VersionStorage)
        .values(version_id=version.id, owner=version.owner, uses=1, last_used_at=now)
        .on_conflict_do_update(
            index_elements=["version_id"], set_={"uses": VersionStorage.uses + 1, "last_used_at": now}
        )
    )
    of_version = VersionUse.version_id == version.id
    newest_forgotten = (
        select(VersionUse.id).where(of_version).order_by(VersionUse.id.desc()).offset(KEPT).limit(1).scalar_subquery()
    )
    session.execute(delete(VersionUse).where(of_version, VersionUse.id <= newest_forgotten))


def uses_since(session: Session, since: datetime) -> dict[int, list[datetime]]:
    """When each version (by id) was used since then, oldest first; versions without a use are not in it."""
    query = select(VersionUse.version_id, VersionUse.created_at).where(VersionUse.created_at >= since)
    times: dict[int, list[datetime]] = {}
    for version_id, at in session.execute(query.order_by(VersionUse.id)):
        times.setdefault(version_id, []).append(at)
    return times
