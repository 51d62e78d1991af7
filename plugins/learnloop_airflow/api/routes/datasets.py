"""Datasets, their versions, batches and rounds."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from learnloop.database import Batch, Dataset, DatasetVersion, Round, session
from learnloop.datasets.versions import get_dataset
from learnloop.loop.balance import balance
from learnloop.loop.progress import Progress, progress
from learnloop.loop.rounds import request_round
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import Body, Message
from learnloop_airflow.api.idempotency import Key, once
from learnloop_airflow.api.paging import Cursor, Limit, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes import Balance, BatchItem, DatasetItem, Page, RoundItem, RoundOpened, VersionItem

routes = Routes()


_HEAD = joinedload(Dataset.head).load_only(DatasetVersion.name)
_PARENTS = selectinload(DatasetVersion.parents).load_only(DatasetVersion.name, DatasetVersion.personal_to)
_VERSIONS_OF_ROUND = (
    joinedload(Round.base_version).load_only(DatasetVersion.name),
    joinedload(Round.version).load_only(DatasetVersion.name),
)


class StartRound(Body):
    reason: Message = ""


@routes.add("GET", "/datasets", "dataset:read", response_model=Page[DatasetItem])
def list_datasets(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    with session() as db:
        return page(db, select(Dataset).options(_HEAD), Dataset.id, limit, cursor, _dataset)


@routes.add("GET", "/datasets/{name}", "dataset:read", response_model=DatasetItem)
def show_dataset(name: str) -> dict[str, Any]:
    with session() as db:
        return _dataset(get_dataset(db, name))


@routes.add("GET", "/datasets/{name}/versions", "dataset:read", response_model=Page[VersionItem])
def list_versions(name: str, caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Shared versions, and the caller's own personal ones; newest first."""
    with session() as db:
        dataset = get_dataset(db, name)
        visible = DatasetVersion.personal_to.is_(None) | (DatasetVersion.personal_to == caller.name)
        wanted = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id, visible).options(_PARENTS)
        return page(db, wanted, DatasetVersion.id, limit, cursor, lambda row: _version(row, caller.name))


@routes.add("GET", "/datasets/{name}/batches", "batch:read", response_model=Page[BatchItem])
def list_batches(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    with session() as db:
        wanted = select(Batch).where(Batch.dataset_id == get_dataset(db, name).id)
        return page(db, wanted, Batch.id, limit, cursor, _batch)


@routes.add("GET", "/datasets/{name}/rounds", "round:read", response_model=Page[RoundItem])
def list_rounds(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """The dataset's rounds with their figures, newest first."""
    with session() as db:
        wanted = select(Round).where(Round.dataset_id == get_dataset(db, name).id).options(*_VERSIONS_OF_ROUND)
        return page(db, wanted, Round.id, limit, cursor, _round)


@routes.add("POST", "/datasets/{name}/rounds", "round:start", status_code=202, answers=RoundOpened, errors=(409,))
def start_round(name: str, wanted: StartRound, caller: Caller, key: Key = None) -> JSONResponse:
    """Start a round by hand with what is confirmed so far; 409 while another is open."""
    with session() as db:

        def do() -> dict[str, Any]:
            opened = request_round(db, get_dataset(db, name), by=caller.name, reason=wanted.reason)
            return {"number": opened.number, "state": opened.state, "run_id": opened.run_id}

        return once(db, caller, key, f"POST /datasets/{name}/rounds", wanted.model_dump(), do, 202)


@routes.add("GET", "/datasets/{name}/progress", "round:read", response_model=Progress)
def show_progress(name: str, caller: Caller) -> dict[str, Any]:
    """Labels against the training policy's threshold, with its reason, and the caller's own count."""
    with session() as db:
        return dict(vars(progress(db, get_dataset(db, name), annotator=caller.name)))


@routes.add("GET", "/datasets/{name}/balance", "round:read", response_model=Balance)
def show_balance(name: str) -> dict[str, Any]:
    """How many confirmed labels each class has, and how many of them no round has taken yet."""
    with session() as db:
        return {"items": [vars(found) for found in balance(db, get_dataset(db, name))]}


def _dataset(row: Dataset) -> dict[str, Any]:
    return {
        "name": row.name,
        "task_type": row.task_type,
        "description": row.description,
        "classes": row.loop.get("classes", []),
        "head": row.head.name if row.head else None,
        "owner": row.owner,
        "created_at": row.created_at,
    }


def _batch(row: Batch) -> dict[str, Any]:
    return {
        "name": row.name,
        "samples": row.samples,
        "tree": row.tree,
        "owner": row.owner,
        "created_at": row.created_at,
    }


def _version(row: DatasetVersion, user: str) -> dict[str, Any]:
    return {
        "name": row.name,
        "tree": row.tree,
        "files": row.files,
        "bytes": row.bytes,
        "message": row.message,
        "provenance": row.provenance,
        "parents": [parent.name for parent in row.parents if parent.personal_to in (None, user)],
        "owner": row.owner,
        "created_at": row.created_at,
    }


def _round(row: Round) -> dict[str, Any]:
    return {
        "number": row.number,
        "state": row.state,
        "reason": row.reason,
        "labels": row.labels,
        "base_version": row.base_version.name if row.base_version else None,
        "version": row.version.name if row.version else None,
        "model_name": row.model_name,
        "parent_model_version": row.parent_model_version,
        "model_version": row.model_version,
        "metrics": row.metrics,
        "owner": row.owner,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "served_at": row.served_at,
        "finished_at": row.finished_at,
    }
