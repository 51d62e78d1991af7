"""Structure optimisation: each time it was asked for, and what was tried."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from sqlalchemy import select

from learnloop.database import StructureSearch, StructureTrial, session
from learnloop.datasets.versions import get_dataset
from learnloop.errors import NotFound
from learnloop.loop.structure import trials_of
from learnloop_airflow.api.paging import Cursor, Limit, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes import Page, StructureSearchDetails, StructureSearchItem

routes = Routes()

SearchId = Annotated[int, Path(ge=1, lt=2**31)]


@routes.add("GET", "/datasets/{name}/structure/searches", "round:read", response_model=Page[StructureSearchItem])
def list_searches(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Each time it was asked whether the structure is still right: the answer, why, what came of it. Newest first."""
    with session() as db:
        wanted = select(StructureSearch).where(StructureSearch.dataset_id == get_dataset(db, name).id)
        return page(db, wanted, StructureSearch.id, limit, cursor, _search)


@routes.add(
    "GET", "/datasets/{name}/structure/searches/{search_id}", "round:read", response_model=StructureSearchDetails
)
def show_search(name: str, search_id: SearchId) -> dict[str, Any]:
    """One search with its trials: what each was, how good, quick and large, and why it was chosen or not."""
    with session() as db:
        found = db.get(StructureSearch, search_id)
        if found is None or found.dataset_id != get_dataset(db, name).id:
            raise NotFound(f"dataset {name!r} has no structure search {search_id}")
        return {**_search(found), "tried": [_trial(trial) for trial in trials_of(db, search_id)]}


def _search(row: StructureSearch) -> dict[str, Any]:
    return {
        "id": row.id,
        "run_id": row.run_id,
        "state": row.state,
        "reason": row.reason,
        "facts": row.facts,
        "trials": row.trials,
        "deadline": row.deadline,
        "outcome": row.outcome,
        "chosen": row.chosen,
        "owner": row.owner,
        "created_at": row.created_at,
        "decided_at": row.decided_at,
    }


def _trial(row: StructureTrial) -> dict[str, Any]:
    return {
        "number": row.number,
        "state": row.state,
        "structure": row.described,
        "reason": row.reason,
        "accuracy": row.result.get("accuracy"),
        "latency_ms": row.result.get("latency_ms"),
        "model_bytes": row.result.get("model_bytes"),
        "on_front": row.on_front,
        "model_version": row.model_version,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
    }
