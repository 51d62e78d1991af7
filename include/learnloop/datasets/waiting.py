"""The queue for a dataset's write lock: higher priority first, then first come, first served.

The lock is not pushed to whoever is next: who waits asks again, and is given it when it is their turn. A waiter that
has died does not ask, its place lapses, and the next one's turn comes. ``LOCKS_CHANNEL`` says when asking is worth it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Lock, LockRequest
from learnloop.datasets import locks
from learnloop.datasets.names import check_line
from learnloop.errors import Gone, InvalidInput

PATIENCE = timedelta(minutes=1)
"""How long a place in line is kept for somebody who does not ask again."""

HIGHEST_PRIORITY = 100


@dataclass(frozen=True)
class Place:
    """A place in line. ``position`` 1 is next; ``held_by`` and ``held_until`` tell of the lock's live holder.

    The place is lost unless asked for again before ``expires_at``.
    """

    request_id: int
    dataset: str
    owner: str
    purpose: str
    priority: int
    position: int
    expires_at: datetime
    held_by: str | None
    held_until: datetime | None

    @property
    def due(self) -> bool:
        """Whether asking now would be answered with the lock."""
        return self.position == 1 and self.held_by is None


def request_write(
    session: Session,
    dataset: Dataset,
    owner: str,
    ttl: timedelta,
    *,
    key: str,
    purpose: str = "",
    priority: int = 0,
    patience: timedelta = PATIENCE,
) -> Lock | Place:
    """The write lock of ``dataset`` for ``ttl`` when it is free and nobody is before ``owner``; else a place in line.

    Args:
        key: names the piece of work (a run's task): asking again with it keeps the place, or, when the lock was given
            already, gives it anew with a new token, so that an earlier try cannot write any more.
        priority: higher goes first; ``-100`` to ``100``.
        patience: how long the place is kept until asked for again.

    Raises:
        InvalidInput: a time that is none, a priority out of range, text that cannot be shown.
    """
    locks.check_lease(owner, ttl, purpose)
    locks.check_ttl(patience)
    if not key or len(check_line(key, "a key")) > 250:
        raise InvalidInput("a key has 1 to 250 characters")
    if not -HIGHEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise InvalidInput(f"a priority is between -{HIGHEST_PRIORITY} and {HIGHEST_PRIORITY}, not {priority}")
    locks.hold_row(session, dataset)
    _remove_lapsed(session, dataset)
    mine = _enter(session, dataset, owner, key, purpose, priority, patience)
    held = locks.live_holder(session, dataset)
    turn = held is None and locks.first_waiting(session, dataset) is mine
    if turn or locks.is_work(held, owner, key):
        session.delete(mine)
        return locks.grant(session, dataset, owner, ttl, purpose, key)
    return _place_of(session, mine)


def keep_place(session: Session, request_id: int, patience: timedelta = PATIENCE) -> Place:
    """Keep a place for ``patience`` from now, and say where it is. Takes nothing: when it is due, ask for the lock.

    Raises:
        Gone: the place has lapsed, was withdrawn, or the lock was given.
    """
    locks.check_ttl(patience)
    # The row's own lock is enough: nobody else's place changes.
    mine = session.get(LockRequest, request_id, with_for_update=True, populate_existing=True)
    now = locks.clock(session)
    if mine is None or mine.expires_at <= now:
        raise Gone(f"place {request_id} in line is no longer kept: ask for the lock again, from the end of the line")
    mine.expires_at = now + patience
    session.flush()
    return _place_of(session, mine)


def withdraw(session: Session, request_id: int) -> bool:
    """Leave the line. False when the place was gone already."""
    mine = session.get(LockRequest, request_id)
    if mine is None:
        return False
    gone = session.scalar(delete(LockRequest).where(LockRequest.id == request_id).returning(LockRequest.id))
    locks.wake_waiting(session, mine.dataset.name)
    return gone is not None


def line_of(session: Session, dataset: Dataset) -> list[Place]:
    """Everybody who waits for a dataset's write lock, next first."""
    waiting = session.scalars(locks.in_line(dataset)).all()
    held = locks.live_holder(session, dataset) if waiting else None
    return [_place(request, position, held) for position, request in enumerate(waiting, start=1)]


def _remove_lapsed(session: Session, dataset: Dataset) -> None:
    lapsed = delete(LockRequest).where(
        LockRequest.dataset_id == dataset.id, LockRequest.expires_at <= func.clock_timestamp()
    )
    session.execute(lapsed, execution_options={"synchronize_session": False})


def _enter(
    session: Session, dataset: Dataset, owner: str, key: str, purpose: str, priority: int, patience: timedelta
) -> LockRequest:
    mine = session.scalar(
        select(LockRequest)
        .where(LockRequest.dataset_id == dataset.id, LockRequest.owner == owner, LockRequest.key == key)
        .execution_options(populate_existing=True)
    )
    until = locks.clock(session) + patience
    if mine is None:
        mine = LockRequest(dataset_id=dataset.id, owner=owner, key=key, expires_at=until)
        session.add(mine)
    mine.purpose, mine.priority, mine.expires_at = purpose, priority, until
    session.flush()
    return mine


def _place_of(session: Session, mine: LockRequest) -> Place:
    order = list(session.scalars(locks.in_line(mine.dataset).with_only_columns(LockRequest.id)))
    return _place(mine, order.index(mine.id) + 1, locks.live_holder(session, mine.dataset))


def _place(mine: LockRequest, position: int, held: Lock | None) -> Place:
    return Place(
        request_id=mine.id,
        dataset=mine.dataset.name,
        owner=mine.owner,
        purpose=mine.purpose,
        priority=mine.priority,
        position=position,
        expires_at=mine.expires_at,
        held_by=None if held is None else held.owner,
        held_until=None if held is None else held.expires_at,
    )
