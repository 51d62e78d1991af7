"""Which jobs run, which wait for their turn and why, and what there is for them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from learnloop.database import Capacity, Reservation, reading
from learnloop.settings import settings
from learnloop_airflow.api.paging import Cursor, Limit, page_in_order
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.capacity import CapacityInfo, QueueItem
from learnloop_airflow.api.shapes.paging import Page

routes = Routes()

_LIVE = Reservation.state != "released"
_COLUMNS = (
    Reservation.id,
    Reservation.owner.label("user"),
    Reservation.state,
    Reservation.place,
    Reservation.reason,
    (Reservation.cpu / 1000.0).label("cpu"),
    Reservation.memory,
    Reservation.gpu,
    Reservation.node_pool,
    Reservation.node,
    Reservation.priority,
    Reservation.created_at.label("asked_at"),
    Reservation.planned_at,
    Reservation.admitted_at,
    Reservation.dag_id,
    Reservation.run_id,
    Reservation.task_id,
    Reservation.map_index,
)
_IN_ORDER = (
    select(*_COLUMNS)
    .where(_LIVE)
    .order_by(Reservation.admitted_at.nulls_last(), Reservation.place.nulls_last(), Reservation.id)
)
_HELD = (
    select(
        Reservation.node_pool,
        func.sum(Reservation.cpu),
        func.sum(Reservation.memory),
        func.sum(Reservation.gpu),
    )
    .where(_LIVE, Reservation.state != "waiting")
    .group_by(Reservation.node_pool)
)
_NOTHING = {"cpu": 0, "memory": 0, "gpu": 0}


@routes.add("GET", "/queue", "pipeline:read", response_model=Page[QueueItem])
def list_queue(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """The jobs of all: first those that run, then those that wait, next first. Empty where nobody says who is next."""
    with reading() as db:
        return page_in_order(db, _IN_ORDER, limit, cursor)


def waiting(dag_id: str | None = None, run_id: str | None = None, most: int = 10) -> list[dict[str, Any]]:
    """The first jobs in line, of all or of one run, as `list_queue` has them."""
    wanted = _IN_ORDER.where(Reservation.state == "waiting").limit(most)
    if run_id is not None:
        wanted = wanted.where(Reservation.dag_id == dag_id, Reservation.run_id == run_id)
    with reading() as db:
        return [dict(row) for row in db.execute(wanted).mappings()]


@routes.add("GET", "/capacity", "pipeline:read", response_model=CapacityInfo)
def show_capacity() -> dict[str, Any]:
    """What each node pool has, and what is held of it. What jobs hold counts for the pool they asked for."""
    with reading() as db:
        found = db.execute(select(Capacity.decided_at, Capacity.report).where(Capacity.runner == settings().job_runner))
        decided_at, report = next(iter(found), (None, {"pools": []}))
        held = {pool: dict(zip(_NOTHING, amounts, strict=True)) for pool, *amounts in db.execute(_HELD)}
    pools = [
        {
            **pool,
            "total": _in_cores(pool["total"]),
            "others": _in_cores(pool["others"]),
            "held": _in_cores(held.get(pool["pool"], _NOTHING)),
        }
        for pool in report["pools"]
    ]
    return {"admission": settings().admission, "decided_at": decided_at, "pools": pools}


def _in_cores(amounts: dict[str, Any]) -> dict[str, Any]:
    return {**amounts, "cpu": int(amounts["cpu"]) / 1000}
