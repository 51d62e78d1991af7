"""A job's reservation, as whoever runs the job sees it: ask for it until it is given, begin, release.

Nobody is told that it is their turn: who waits asks again, and so shows that they are still there. What is given is given
to a job, by its owner and key, however often and by however many tasks it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Select, and_, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.capacity.amounts import Amounts
from learnloop.database import Capacity, Reservation

LIVE = Reservation.state != "released"
KEPT = timedelta(days=30)
"""How long a reservation can still be looked at once it was released."""
SEEN_EVERY = timedelta(seconds=10)
"""As often as it is written down that somebody still asks."""


@dataclass(frozen=True)
class Holder:
    """The try of a task that asks. ``map_index`` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int


@dataclass(frozen=True)
class Wanted:
    """What a job asks for: ``amounts`` of one node of ``pool`` (None: any), for at most ``seconds`` once it has begun."""

    runner: str
    user: str
    key: str
    amounts: Amounts
    seconds: float
    priority: int
    pool: str | None
    holder: Holder

    def to_json(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("runner", "user", "key", "seconds", "priority", "pool")}
        return {**own, "amounts": list(self.amounts), "holder": vars(self.holder)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Wanted:
        return cls(**{**value, "amounts": Amounts(*value["amounts"]), "holder": Holder(**value["holder"])})


@dataclass(frozen=True)
class Standing:
    """How a job's request stands.

    Attributes:
        id: of the reservation.
        mine: whether it is this task's; else another task asked for the same job before.
        of: how many wait.
        admitted_at: when it was given; None while it waits.
    """

    id: int
    mine: bool
    state: str
    place: int | None
    of: int
    reason: str
    admitted_at: datetime | None

    @property
    def given(self) -> bool:
        return self.mine and self.state in ("admitted", "begun")

    def __str__(self) -> str:
        if not self.mine:
            return "another task has the same job in line: waiting for its result"
        if self.state != "waiting":
            return self.reason
        place = "in line" if self.place is None else f"place {self.place} of {max(self.place, self.of)} in line"
        return f"{place}: {self.reason}" if self.reason else f"{place}: not looked at yet"


def ask(db: Session, wanted: Wanted) -> Standing:
    """Enter the line, or keep the place; says how things stand. A new try of the same task begins anew at the end."""
    row = db.scalar(_of_job(wanted)) or _enter(db, wanted)
    mine = _holder_of(row) == wanted.holder
    if not mine and _same_task(row, wanted.holder) and row.try_number < wanted.holder.try_number:
        release(db, wanted.runner, [wanted.holder])
        row, mine = _enter(db, wanted), True
    if mine:
        now = func.clock_timestamp()
        seen = update(Reservation).where(Reservation.id == row.id, Reservation.seen_at < now - SEEN_EVERY)
        db.execute(seen.values(seen_at=now), execution_options={"synchronize_session": False})
    waiting = select(func.count()).where(Reservation.runner == wanted.runner, Reservation.state == "waiting")
    of = db.scalar(waiting) or 0
    return Standing(row.id, mine, row.state, row.place, of, row.reason, row.admitted_at)


def begin(db: Session, reservation_id: int) -> bool:
    """Take up what was given, before anything is started; again: no change. False: it is not (or no longer) given."""
    row = db.get(Reservation, reservation_id, with_for_update=True, populate_existing=True)
    if row is None or row.state not in ("admitted", "begun"):
        return False
    if row.state == "admitted":
        row.state, row.begun_at = "begun", func.clock_timestamp()
    return True


def given_at(db: Session, wanted: Wanted) -> datetime | None:
    """When the job's reservation was given; None: it waits, or there is none."""
    return db.scalar(_of_job(wanted).with_only_columns(Reservation.admitted_at))


def release(db: Session, runner: str, holders: Iterable[Holder]) -> int:
    """Give back what these tries (and earlier ones of their tasks) hold or wait for; returns how many that were."""
    named = [
        and_(
            Reservation.dag_id == one.dag_id,
            Reservation.run_id == one.run_id,
            Reservation.task_id == one.task_id,
            Reservation.map_index == one.map_index,
            Reservation.try_number <= one.try_number,
        )
        for one in holders
    ]
    if not named:
        return 0
    released = {"state": "released", "released_at": func.clock_timestamp(), "place": None}
    done = db.execute(update(Reservation).where(Reservation.runner == runner, LIVE, or_(*named)).values(released))
    count = cast("CursorResult[Any]", done).rowcount
    if count:  # others may have their turn: the next who asks decides
        db.execute(update(Capacity).where(Capacity.runner == runner).values(decided_at=func.to_timestamp(0)))
    return count


def held_by(db: Session) -> list[tuple[str, Holder]]:
    """Every try that holds a reservation or waits for one, with the runner it is of."""
    return [(row.runner, _holder_of(row)) for row in db.scalars(select(Reservation).where(LIVE))]


def forget(db: Session) -> int:
    """Delete what was released long ago."""
    old = and_(Reservation.state == "released", Reservation.released_at < func.now() - KEPT)
    return cast("CursorResult[Any]", db.execute(delete(Reservation).where(old))).rowcount


def _enter(db: Session, wanted: Wanted) -> Reservation:
    cpu, memory, gpu = wanted.amounts
    amounts = {"cpu": cpu, "memory": memory, "gpu": gpu}
    job = {"runner": wanted.runner, "owner": wanted.user, "key": wanted.key}
    asked = {"node_pool": wanted.pool, "priority": wanted.priority, "seconds": wanted.seconds, **amounts}
    row = insert(Reservation).values(
        **job, **asked, **vars(wanted.holder), state="waiting", seen_at=func.clock_timestamp()
    )
    db.execute(row.on_conflict_do_nothing(index_elements=list(job), index_where=text("state <> 'released'")))
    return db.scalars(_of_job(wanted)).one()


def _of_job(wanted: Wanted) -> Select[Reservation]:
    job = {"runner": wanted.runner, "owner": wanted.user, "key": wanted.key}
    return select(Reservation).filter_by(**job).where(LIVE).execution_options(populate_existing=True)


def _holder_of(row: Reservation) -> Holder:
    return Holder(row.dag_id, row.run_id, row.task_id, row.map_index, row.try_number)


def _same_task(row: Reservation, holder: Holder) -> bool:
    theirs = (row.dag_id, row.run_id, row.task_id, row.map_index)
    return theirs == (holder.dag_id, holder.run_id, holder.task_id, holder.map_index)
