"""One decision for all who wait: what there is, what is held, who waits, the policy, and its verdicts in the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import DateTime, and_, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.capacity.amounts import Amounts, Node, total_of
from learnloop.capacity.policy import Held, Rules, Verdict, Waiting, decide
from learnloop.capacity.reservations import LIVE
from learnloop.database import Capacity, Reservation
from learnloop.jobs.namespace import kubernetes_name

EVERY = timedelta(seconds=2)
"""As often as a decision is made while somebody waits, unless something was released before."""
PATIENCE = timedelta(minutes=1)
"""Who has not asked for so long is passed over until they ask again."""
HANDOVER = timedelta(minutes=5)
"""So long room is kept for a job that was admitted and does not begin: its task may wait for a worker."""
START_SECONDS = 60.0
"""Between a pod's reservation and its start on a node, from when its time limit counts."""

HALF_LIFE = timedelta(hours=6)
"""What a user held counts half as much after so long, for whose turn it is."""


class Occupant(NamedTuple):
    """What runs on ``node`` now. ``name``: the pod of a job of ours; None: somebody else's."""

    name: str | None
    node: str
    amounts: Amounts


@dataclass(frozen=True)
class Machines:
    """What a cluster looks like: its nodes, each with all it has, and what is on them."""

    nodes: Sequence[Node]
    occupants: Sequence[Occupant] = ()


def rules() -> Rules:
    """The policy's numbers, from the settings."""
    from learnloop.permissions import SERVICE
    from learnloop.settings import settings

    numbers = settings()
    return Rules(
        ageing_seconds=numbers.admission_ageing,
        share_seconds=numbers.admission_share,
        most=numbers.jobs_per_user,
        exempt=frozenset({SERVICE.name}),
    )


def claim(db: Session, runner: str, every: timedelta = EVERY) -> bool:
    """Whether a decision is due, and the caller is to make it: of all who ask, one is told so."""
    now = func.clock_timestamp()
    row = insert(Capacity).values(runner=runner, decided_at=now, report={"pools": []})
    won = row.on_conflict_do_update(
        index_elements=["runner"], set_={"decided_at": now}, where=Capacity.decided_at < now - every
    )
    return db.scalar(won.returning(Capacity.runner)) is not None


def decide_all(db: Session, runner: str, machines: Machines, numbers: Rules) -> list[Verdict]:
    """Admit whose turn it is, and tell the others their place and why. One at a time, whoever calls.

    Args:
        machines: what was read before the call; pods of reservations count by their rows, so a pod that came or went
            meanwhile is not counted twice, and not forgotten.
    """
    db.execute(_ONE_AT_A_TIME, {"runner": runner})
    _return_unclaimed(db, runner)
    now = db.scalars(select(func.clock_timestamp())).one()
    live: Sequence[Any] = db.execute(_ROWS, {"runner": runner}).all()
    pods = {kubernetes_name("job", row.owner, row.key): row for row in live if row.state != "waiting"}
    nodes = _free(machines, pods)
    where = {one.name: one.node for one in machines.occupants if one.name in pods}
    held = [_held(row, where.get(name, row.node)) for name, row in pods.items()]
    waiting = [_waiting(row) for row in live if row.state == "waiting" and row.seen_at > now - PATIENCE]
    past = {
        row[0]: [float(average) for average in row[1:]] for row in db.execute(_PAST, {"runner": runner, "now": now})
    }
    verdicts = decide(now.timestamp(), nodes, held, waiting, numbers, past)
    _write(db, verdicts, {str(row.id): row for row in live}, now)
    report = {"pools": _pools(nodes)}
    db.execute(update(Capacity).where(Capacity.runner == runner).values(report=report))
    return verdicts


_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('learnloop admission ' || :runner, 0))")
_ROWS = (
    select(
        Reservation.id, Reservation.owner, Reservation.key, Reservation.state, Reservation.node_pool,
        Reservation.cpu, Reservation.memory, Reservation.gpu, Reservation.priority, Reservation.seconds,
        Reservation.created_at, Reservation.seen_at, Reservation.admitted_at, Reservation.begun_at,
        Reservation.node, Reservation.place, Reservation.reason, Reservation.planned_at,
    )
    .where(Reservation.runner == bindparam("runner"), LIVE)
    .order_by(Reservation.id)
)  # fmt: skip


def _weight(at: Any) -> Any:
    """How much of something at ``at`` still counts."""
    age = func.extract("epoch", bindparam("now", type_=DateTime(timezone=True)) - at)
    return func.power(2.0, -age / HALF_LIFE.total_seconds())


# The average of what each held, with weights that halve every HALF_LIFE: the integral of the weight while it was held.
_HELD = _weight(Reservation.released_at) - _weight(Reservation.admitted_at)
_PAST = (
    select(
        Reservation.owner,
        func.sum(Reservation.cpu * _HELD),
        func.sum(Reservation.memory * _HELD),
        func.sum(Reservation.gpu * _HELD),
    )
    .where(
        Reservation.runner == bindparam("runner"),
        Reservation.state == "released",
        Reservation.admitted_at.is_not(None),
        Reservation.released_at > bindparam("now") - 8 * HALF_LIFE,
    )
    .group_by(Reservation.owner)
)


def _return_unclaimed(db: Session, runner: str) -> None:
    """What was given and not taken up goes to others; whoever it was for keeps their place in line."""
    late = and_(
        Reservation.runner == runner,
        Reservation.state == "admitted",
        Reservation.admitted_at < func.clock_timestamp() - HANDOVER,
        Reservation.seen_at < func.clock_timestamp() - HANDOVER,
    )
    back = {
        "state": "waiting",
        "admitted_at": None,
        "node": None,
        "reason": "it was admitted, and did not begin in time",
    }
    db.execute(update(Reservation).where(late).values(back))


def _free(machines: Machines, ours: Mapping[str, Any]) -> list[Node]:
    """The nodes with what is free on them but for our reservations."""
    others: dict[str, Amounts] = {}
    for one in machines.occupants:
        if one.name is None or one.name not in ours:
            others[one.node] = others.get(one.node, Amounts()).plus(one.amounts)
    return [node._replace(free=node.total.less(others.get(node.name, Amounts()))) for node in machines.nodes]


def _held(row: Any, node: str | None) -> Held:
    since: datetime = row.begun_at or row.admitted_at
    ends_at = since.timestamp() + START_SECONDS + row.seconds
    return Held(str(row.id), row.owner, Amounts(row.cpu, row.memory, row.gpu), ends_at, node, row.node_pool)


def _waiting(row: Any) -> Waiting:
    amounts, since = Amounts(row.cpu, row.memory, row.gpu), row.created_at.timestamp()
    return Waiting(str(row.id), row.owner, amounts, row.seconds + START_SECONDS, since, row.priority, row.node_pool)


def _write(db: Session, verdicts: list[Verdict], rows: Mapping[str, Any], now: datetime) -> None:
    changed = []
    for one in verdicts:
        planned = None if one.begins_at is None else datetime.fromtimestamp(one.begins_at, UTC)
        row = rows[one.key]
        new = {
            "b_id": row.id,
            "place": one.place or None,
            "reason": one.reason,
            "node": one.node,
            "planned_at": planned,
        }
        if one.place == 0:
            new |= {"state": "admitted", "admitted_at": now}
        elif (row.place, row.reason, row.planned_at) == (one.place, one.reason, planned):
            continue
        else:
            new |= {"state": "waiting", "admitted_at": None}
        changed.append(new)
    if changed:  # a row may have been released since it was read
        still = and_(Reservation.id == bindparam("b_id"), Reservation.state == "waiting")
        table = Reservation.__table__
        db.connection().execute(update(table).where(still), changed)  # type: ignore[arg-type]


def _pools(nodes: Sequence[Node]) -> list[dict[str, object]]:
    """What each pool has, and what others than our jobs hold of it."""
    names = sorted({node.pool for node in nodes}, key=lambda name: name or "")
    found: list[dict[str, object]] = []
    for name in names:
        these = [node for node in nodes if node.pool == name]
        total, free = total_of([node.total for node in these]), total_of([node.free for node in these])
        others = total.less(free)
        found.append({"pool": name, "nodes": len(these), "total": total._asdict(), "others": others._asdict()})
    return found
