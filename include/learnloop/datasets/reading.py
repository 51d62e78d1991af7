"""Read leases: who reads which version until when.

A lease never waits and makes nobody wait: it takes no lock on the dataset's row and no write lock knows of it. It
keeps its version from being deleted, and the version's bytes from being collected.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion, Lock
from learnloop.datasets.locks import check_lease, check_ttl, clock
from learnloop.errors import Gone, NotFound


def read_lease(session: Session, version: DatasetVersion, owner: str, ttl: timedelta, purpose: str = "") -> Lock:
    """Say that ``owner`` reads ``version`` for ``ttl``.

    Raises:
        NotFound: the version was deleted meanwhile.
        InvalidInput: a ``ttl`` that is no time, or text that cannot be shown.
    """
    check_lease(owner, ttl, purpose)
    lease = Lock(
        dataset_id=version.dataset_id,
        mode="read",
        version_id=version.id,
        token=0,
        expires_at=clock(session) + ttl,
        purpose=purpose,
        owner=owner,
    )
    try:
        with session.begin_nested():
            session.add(lease)
    except IntegrityError as error:
        raise NotFound(f"dataset version {version.name!r} was deleted") from error
    return lease


def renew_read(session: Session, lease_id: int, ttl: timedelta) -> Lock:
    """Let a lease last ``ttl`` from now.

    Raises:
        Gone: it has lapsed: the version may be deleted by now.
    """
    check_ttl(ttl)
    lease = session.get(Lock, lease_id, with_for_update=True, populate_existing=True)
    now = clock(session)
    if lease is None or lease.mode != "read" or lease.expires_at <= now:
        raise Gone(f"read lease {lease_id} has lapsed: take a new one before reading on")
    lease.expires_at = now + ttl
    session.flush()
    return lease


def release_read(session: Session, lease_id: int) -> bool:
    """Give a lease back. False when it had lapsed."""
    lease = delete(Lock).where(Lock.id == lease_id, Lock.mode == "read")
    return session.scalar(lease.returning(Lock.id)) is not None


def readers(session: Session, version: DatasetVersion) -> list[Lock]:
    """The live read leases of a version, the first to lapse first."""
    live = select(Lock).where(
        Lock.mode == "read", Lock.version_id == version.id, Lock.expires_at > func.clock_timestamp()
    )
    return list(session.scalars(live.order_by(Lock.expires_at)))
