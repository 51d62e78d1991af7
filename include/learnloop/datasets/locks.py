"""Write locks: leases with a fencing token.

A lock says who works on a dataset; the token is what keeps data safe. Each lock gets the next token, a commit
checks it, and so a holder who lost the lock while paused cannot write. Time is the database's. Whoever changes
a dataset's lock, queue, branches or head holds its row first, which is what makes those changes one at a time.

A second writer is refused here, waits in line (``waiting``), or works on a branch (``branches``). Readers
(``reading``) neither wait nor make anybody wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NoReturn

from sqlalchemy import Delete, Select, delete, func, select
from sqlalchemy.orm import Session

from learnloop.database import LOCKS_CHANNEL, Dataset, Lock, LockRequest
from learnloop.datasets.names import check_line, check_person
from learnloop.errors import InvalidInput, Locked, NotFound, StaleToken

LONGEST = timedelta(days=30)
"""No lease lasts longer without being renewed."""

_SHORT = timedelta(minutes=1)
_WAYS = "wait in line for it, or work on a branch of your own that is merged later"


def acquire_write(
    session: Session, dataset: Dataset, owner: str, ttl: timedelta, purpose: str = "", *, key: str | None = None
) -> Lock:
    """Take the write lock of ``dataset`` for ``ttl``; an expired one is taken over.

    Args:
        key: names the piece of work. The owner who holds the lock under the same key gets it anew, with a new
            token: the earlier try, should it still run, can no longer write.

    Raises:
        Locked: somebody holds it or is next in line; the message says who, until when, and what to do.
        InvalidInput: a ``ttl`` that is no time, or text that cannot be shown.
    """
    check_lease(owner, ttl, purpose)
    hold_row(session, dataset)
    held = live_holder(session, dataset)
    if is_work(held, owner, key):
        return grant(session, dataset, owner, ttl, purpose, key)
    if held is not None:
        refuse(dataset, held)
    following = first_waiting(session, dataset)
    if following is not None:
        raise Locked(
            f"{following.owner}{_why(following.purpose)} is next in line for the write lock of dataset {dataset.name}:"
            f" {_WAYS}"
        )
    return grant(session, dataset, owner, ttl, purpose, key)


def renew(session: Session, dataset: Dataset, token: int, ttl: timedelta) -> Lock:
    """Let a held lock last ``ttl`` from now.

    Raises:
        StaleToken: it is no longer held: it expired, was released or taken over.
        InvalidInput: a ``ttl`` that is no time.
    """
    check_ttl(ttl)
    hold_row(session, dataset)
    lock = check(session, dataset, token)
    lock.expires_at = clock(session) + ttl
    session.flush()
    return lock


def release(session: Session, dataset: Dataset, token: int) -> bool:
    """Give the lock back. False when it was not held any more, which is where a release leads to as well."""
    hold_row(session, dataset)
    held = delete(Lock).where(Lock.dataset_id == dataset.id, Lock.mode == "write", Lock.token == token)
    if session.scalar(held.returning(Lock.id)) is None:
        return False
    wake_waiting(session, dataset.name)
    return True


def release_expired(session: Session) -> dict[str, int]:
    """Remove leases and places in line that have lapsed; say how many of each.

    Nothing waits for this: an expired lock is taken over, a lapsed place is passed over. It wakes those who wait,
    and is how a lock that nobody asks for again goes away. An expired branch stays: its number is never given again.
    """
    gone = session.execute(_delete_lapsed(Lock).returning(Lock.mode, Lock.dataset_id)).all()
    lapsed = session.execute(_delete_lapsed(LockRequest).returning(LockRequest.dataset_id)).all()
    freed = {row.dataset_id for row in gone if row.mode == "write"} | {row.dataset_id for row in lapsed}
    for name in session.scalars(select(Dataset.name).where(Dataset.id.in_(freed)).order_by(Dataset.name)):
        wake_waiting(session, name)
    writers = sum(row.mode == "write" for row in gone)
    return {"locks": writers, "read leases": len(gone) - writers, "waiting requests": len(lapsed)}


def check(session: Session, dataset: Dataset, token: int) -> Lock:
    """The write lock that ``token`` stands for, if it is still held.

    Good until the transaction ends only for who holds the dataset's row (``hold_row``).

    Raises:
        StaleToken: it expired, was released or taken over.
    """
    held = holder(session, dataset)
    if held is None or held.token != token:
        other = f"; {held.owner} holds it now" if held is not None else ""
        raise StaleToken(
            f"the write lock {token} of dataset {dataset.name} is no longer held{other}:"
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
    """A short write lock around the end of a piece of work; when the block raises, nothing of it remains.

    It begins and ends in one transaction, during which nobody else could be given the lock: it delays those who
    wait in line by no turn, and so does not wait in line itself.
    """
    with session.begin_nested():
        check_lease(owner, _SHORT, purpose)
        hold_row(session, dataset)
        if (held := live_holder(session, dataset)) is not None:
            refuse(dataset, held)
        lock = grant(session, dataset, owner, _SHORT, purpose, None)
        yield lock
        release(session, dataset, lock.token)


# --- what the modules beside this one build on; each wants the dataset's row held ---


def hold_row(session: Session, dataset: Dataset) -> None:
    """Lock the dataset's row until the transaction ends, and bring ``dataset`` up to date.

    NO KEY UPDATE: a plain FOR UPDATE would make every new row that refers to the dataset wait, a read lease too.
    """
    found = session.scalar(
        select(Dataset)
        .where(Dataset.id == dataset.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound(f"dataset {dataset.name} does not exist any more")


def holder(session: Session, dataset: Dataset) -> Lock | None:
    """The write lock's row, expired or not."""
    return session.scalar(
        select(Lock)
        .where(Lock.dataset_id == dataset.id, Lock.mode == "write")
        .execution_options(populate_existing=True)
    )


def live_holder(session: Session, dataset: Dataset) -> Lock | None:
    """The write lock, while it has not expired."""
    held = holder(session, dataset)
    return held if held is not None and held.expires_at > clock(session) else None


def is_work(held: Lock | None, owner: str, key: str | None) -> bool:
    """Whether a lock was taken by ``owner`` for the piece of work that ``key`` names."""
    return held is not None and key is not None and (held.owner, held.key) == (owner, key)


def refuse(dataset: Dataset, held: Lock) -> NoReturn:
    """Raise Locked for what ``held`` holds."""
    raise Locked(
        f"dataset {dataset.name} is locked for writing by {held.owner}{_why(held.purpose)}"
        f" until {held.expires_at:%Y-%m-%d %H:%M:%S %Z}: ask {held.owner} to release it, {_WAYS}"
    )


def grant(session: Session, dataset: Dataset, owner: str, ttl: timedelta, purpose: str, key: str | None) -> Lock:
    """Make ``owner`` the holder, in place of whoever was, with the next token."""
    session.execute(delete(Lock).where(Lock.dataset_id == dataset.id, Lock.mode == "write"))
    dataset.fencing_token += 1
    lock = Lock(
        dataset_id=dataset.id,
        mode="write",
        token=dataset.fencing_token,
        key=key,
        expires_at=clock(session) + ttl,
        purpose=purpose,
        owner=owner,
    )
    session.add(lock)
    session.flush()
    return lock


def in_line(dataset: Dataset) -> Select[LockRequest]:
    """Those who wait for the write lock, in the order in which they get it; the lapsed are passed over."""
    return (
        select(LockRequest)
        .where(LockRequest.dataset_id == dataset.id, LockRequest.expires_at > func.clock_timestamp())
        .order_by(LockRequest.priority.desc(), LockRequest.id)
    )


def first_waiting(session: Session, dataset: Dataset) -> LockRequest | None:
    """Who is next in line, if anybody waits."""
    return session.scalar(in_line(dataset).limit(1))


def wake_waiting(session: Session, dataset_name: str) -> None:
    """Tell those who wait for a dataset's lock to look again, when (and only when) this transaction commits."""
    session.execute(select(func.pg_notify(LOCKS_CHANNEL, dataset_name)))


def clock(session: Session) -> datetime:
    """The database's time now (not the transaction's start)."""
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now


def check_lease(owner: str, ttl: timedelta, purpose: str) -> None:
    """Raise InvalidInput for a lease that could not be."""
    check_person(owner)
    check_line(purpose, "a purpose")
    check_ttl(ttl)


def check_ttl(ttl: timedelta) -> None:
    """Raise InvalidInput unless a lease can last ``ttl``."""
    if ttl <= timedelta(0):
        raise InvalidInput(f"a lock must last longer than nothing, not {ttl}")
    if ttl > LONGEST:
        raise InvalidInput(f"a lock lasts at most {LONGEST.days} days, not {ttl}: take it for less and renew it")


def _delete_lapsed(table: type[Lock | LockRequest]) -> Delete:
    # What somebody else is at is theirs to settle: waiting for it could end in a deadlock.
    lapsed = select(table.id).where(table.expires_at <= func.clock_timestamp()).with_for_update(skip_locked=True)
    return delete(table).where(table.id.in_(lapsed))


def _why(purpose: str) -> str:
    return f" ({purpose})" if purpose else ""
