"""Structure optimisation: each time it was asked for, and what was tried."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from sqlalchemy import bindparam, select

from learnloop.database import StructureSearch, StructureTrial, reading
from learnloop.datasets.versions import dataset_id
from learnloop.errors import NotFound
from learnloop.loop.structure import trials_of
from learnloop_airflow.api.paging import Cursor, Limit, newest_first, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.structure import StructureSearchDetails, StructureSearchItem

routes = Routes()

SearchId = Annotated[int, Path(ge=1, lt=2**31)]

_COLUMNS = select(
    StructureSearch.id,
    StructureSearch.run_id,
    StructureSearch.state,
    StructureSearch.reason,
    StructureSearch.facts,
    StructureSearch.trials,
    StructureSearch.deadline,
    StructureSearch.outcome,
    StructureSearch.chosen,
    StructureSearch.owner,
    StructureSearch.created_at,
    StructureSearch.decided_at,
).where(StructureSearch.dataset_id == bindparam("dataset"))
_SEARCHES = newest_first(_COLUMNS, StructureSearch.id)
_SEARCH = _COLUMNS.where(StructureSearch.id == bindparam("search"))


@routes.add("GET", "/datasets/{name}/structure/searches", "round:read", response_model=Page[StructureSearchItem])
def list_searches(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Each time it was asked whether the structure is still right: the answer, why, what came of it. Newest first."""
    with reading() as db:
        return page(db, _SEARCHES, limit, cursor, dataset=dataset_id(db, name))


@routes.add(
    "GET", "/datasets/{name}/structure/searches/{search_id}", "round:read", response_model=StructureSearchDetails
)
def show_search(name: str, search_id: SearchId) -> dict[str, Any]:
    """One search with its trials: what each was, how good, quick and large, and why it was chosen or not."""
    with reading() as db:
        wanted = {"dataset": dataset_id(db, name), "search": search_id}
        found = db.execute(_SEARCH, wanted).mappings().one_or_none()
        if found is None:
            raise NotFound(f"dataset {name!r} has no structure search {search_id}")
        return {**found, "tried": [_trial(trial) for trial in trials_of(db, search_id)]}


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
