"""Write locks of datasets: who holds one, who waits; take, renew, give back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy import func, select

from learnloop.database import Dataset, Lock, reading, session
from learnloop.datasets import locks
from learnloop.datasets.branches import open_branches
from learnloop.datasets.versions import get_dataset
from learnloop.datasets.waiting import Place, line_of, request_write, withdraw
from learnloop.errors import NotFound, PermissionDenied
from learnloop.permissions import Principal
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import WHOLE, Body, line
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.locks import Leases, LockItem, Released, Withdrawn

routes = Routes()


Seconds = Annotated[int, Field(ge=1, le=30 * 86400), WHOLE]
Line = Annotated[str, line(most=200)]


class WantedLock(Body):
    seconds: Seconds = 3600
    purpose: Line = ""
    priority: Annotated[int, Field(ge=-100, le=100), WHOLE] = 0
    wait: bool = False
    key: Line = ""


class Renewal(Body):
    seconds: Seconds = 3600


@routes.add("GET", "/datasets/{name}/locks", "dataset:read", response_model=Leases)
def show_locks(name: str) -> dict[str, Any]:
    """The live leases of a dataset, the line for its write lock, and its open branches."""
    with reading() as db:
        dataset = get_dataset(db, name)
        live = select(Lock).where(Lock.dataset_id == dataset.id, Lock.expires_at > func.clock_timestamp())
        return {
            "locks": [_lock(row) for row in db.scalars(live.order_by(Lock.id))],
            "waiting": [asdict(place) for place in line_of(db, dataset)],
            "branches": [
                {"name": row.name, "owner": row.owner, "purpose": row.purpose, "expires_at": row.expires_at}
                for row in open_branches(db, dataset)
            ],
        }


@routes.add(
    "POST",
    "/datasets/{name}/lock",
    "dataset:write",
    answers=LockItem,
    responses={202: {"model": Place, "description": "A place in line"}},
    errors=(409, 423),
)
def take_lock(name: str, wanted: WantedLock, caller: Caller) -> JSONResponse:
    """Take the write lock: 200 with its token, 423 saying who holds it; with ``wait``, 202 with a place in line.

    A place is kept for a minute after it was asked for last: ask again with the same ``key`` until the answer is 200.
    """
    ttl = timedelta(seconds=wanted.seconds)
    with session() as db:
        dataset = get_dataset(db, name)
        if not wanted.wait:
            return _answer(_lock(locks.acquire_write(db, dataset, caller.name, ttl, wanted.purpose)), 200)
        got = request_write(
            db,
            dataset,
            caller.name,
            ttl,
            key=wanted.key or f"api:{caller.name}",
            purpose=wanted.purpose,
            priority=wanted.priority,
        )
        if isinstance(got, Lock):
            return _answer(_lock(got), 200)
        return _answer(asdict(got), 202)


@routes.add("POST", "/datasets/{name}/lock/{token}/renew", "dataset:write", answers=LockItem, errors=(409,))
def renew_lock(name: str, token: int, wanted: Renewal, caller: Caller) -> JSONResponse:
    """Hold the write lock for longer, by its token."""
    with session() as db:
        dataset = get_dataset(db, name)
        _own(db.scalar(_held(dataset, token)), caller, name)
        return _answer(_lock(locks.renew(db, dataset, token, timedelta(seconds=wanted.seconds))), 200)


@routes.add("DELETE", "/datasets/{name}/lock/{token}", "dataset:write", response_model=Released)
def release_lock(name: str, token: int, caller: Caller) -> dict[str, Any]:
    """Give one's write lock back; an admin may give back anybody's."""
    with session() as db:
        dataset = get_dataset(db, name)
        held = db.scalar(_held(dataset, token))
        if held is None:
            return {"released": False}
        _own(held, caller, name)
        return {"released": locks.release(db, dataset, token)}


@routes.add("DELETE", "/datasets/{name}/line/{request_id}", "dataset:write", response_model=Withdrawn)
def leave_line(name: str, request_id: int, caller: Caller) -> dict[str, Any]:
    """Give one's place in line up."""
    with session() as db:
        dataset = get_dataset(db, name)
        place = next((place for place in line_of(db, dataset) if place.request_id == request_id), None)
        if place is None or place.owner != caller.name:
            raise NotFound(f"{caller.name} has no place {request_id} in the line for {name}")
        return {"withdrawn": withdraw(db, request_id)}


def _held(dataset: Dataset, token: int) -> Any:
    token = token if 0 < token < 2**63 else 0  # no write lock has 0
    return select(Lock).where(Lock.dataset_id == dataset.id, Lock.mode == "write", Lock.token == token)


def _own(lock: Lock | None, caller: Principal, name: str) -> None:
    if lock is not None and lock.owner != caller.name and not caller.roles & {"admin", "Admin"}:
        raise PermissionDenied(f"the write lock of {name} is {lock.owner}'s: only they or an admin may do this")


def _lock(row: Lock) -> dict[str, Any]:
    return {
        "mode": row.mode,
        "token": row.token,
        "owner": row.owner,
        "purpose": row.purpose,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }


def _answer(body: dict[str, Any], status: int) -> JSONResponse:
    from fastapi.encoders import jsonable_encoder

    return JSONResponse(jsonable_encoder(body), status_code=status)
