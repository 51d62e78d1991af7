"""Write locks: leases with a fencing token.

A lock says who works on a dataset; the token is what keeps data safe. Each lock gets the next token, a commit
checks it, and so a holder who lost the lock while paused cannot write. Time is the database's. Whoever changes
a dataset's lock or head holds its row first, which is what makes those changes one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Lock
from learnloop.errors import InvalidInput, Locked, NotFound, StaleToken

_SHORT = timedelta(minutes=1)


def acquire_write(session: Session, dataset: Dataset, owner: str, ttl: timedelta, purpose: str = "") -> Lock:
    """Take the write lock of ``dataset`` for ``ttl``; an expired one is taken over.

    Raises:
        Locked: somebody holds it; the message says who, until when, and what to do.
    """
    if ttl <= timedelta(0):
        raise InvalidInput(f"a lock must last longer than nothing, not {ttl}")
    hold_row(session, dataset)
    now = clock(session)
    held = _held(session, dataset)
    if held is not None and held.expires_at > now:
        why = f" ({held.purpose})" if held.purpose else ""
        raise Locked(
            f"dataset {dataset.name} is locked for writing by {held.owner}{why}"
            f" until {held.expires_at:%Y-%m-%d %H:%M:%S %Z}: wait until then, or ask them to release it"
        )
    if held is not None:
        session.execute(delete(Lock).where(Lock.id == held.id))
    dataset.fencing_token += 1
    lock = Lock(
        dataset_id=dataset.id,
        mode="write",
        token=dataset.fencing_token,
        expires_at=now + ttl,
        purpose=purpose,
        owner=owner,
    )
    session.add(lock)
    session.flush()
    return lock


def renew(session: Session, dataset: Dataset, token: int, ttl: timedelta) -> Lock:
    """Let a held lock last ``ttl`` from now.

    Raises:
        StaleToken: it is no longer held: it expired, was released or taken over.
    """
    hold_row(session, dataset)
    lock = check(session, dataset, token)
    lock.expires_at = clock(session) + ttl
    session.flush()
    return lock


def release(session: Session, dataset: Dataset, token: int) -> bool:
    """Give the lock back. False when it was not held any more, which is where a release leads to as well."""
    hold_row(session, dataset)
    held = delete(Lock).where(Lock.dataset_id == dataset.id, Lock.mode == "write", Lock.token == token)
    return session.scalar(held.returning(Lock.id)) is not None


def check(session: Session, dataset: Dataset, token: int) -> Lock:
    """The write lock that ``token`` stands for, if it is still held.

    Good until the transaction ends only for who holds the dataset's row (``hold_row``).

    Raises:
        StaleToken: it expired, was released or taken over.
    """
    held = _held(session, dataset)
    if held is None or held.token != token:
        holder = f"; {held.owner} holds it now" if held is not None else ""
        raise StaleToken(
            f"the write lock {token} of dataset {dataset.name} is no longer held{holder}:"
            " nothing was written; take a new lock and start from the newest version"
        )
    if held.expires_at <= clock(session):
        raise StaleToken(
            f"the write lock {token} of dataset {dataset.name} expired at {held.expires_at:%Y-%m-%d %H:%M:%S %Z}:"
            " nothing was written; take a new lock and start from the newest version"
        )
    return held


@contextmanager
def writing(session: Session, dataset: Dataset, owner: str, purpose: str) -> Iterator[Lock]:
    """A short write lock around the end of a piece of work; when the block raises, nothing of it remains."""
    with session.begin_nested():
        lock = acquire_write(session, dataset, owner, _SHORT, purpose)
        yield lock
        release(session, dataset, lock.token)


def hold_row(session: Session, dataset: Dataset) -> None:
    """Lock the dataset's row until the transaction ends, and bring ``dataset`` up to date."""
    found = session.scalar(
        select(Dataset).where(Dataset.id == dataset.id).with_for_update().execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound(f"dataset {dataset.name} does not exist any more")


def clock(session: Session) -> datetime:
    """The database's time now (not the transaction's start)."""
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now


def _held(session: Session, dataset: Dataset) -> Lock | None:
    return session.scalar(
        select(Lock)
        .where(Lock.dataset_id == dataset.id, Lock.mode == "write")
        .execution_options(populate_existing=True)
    )
