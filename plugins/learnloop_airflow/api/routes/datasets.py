"""Datasets, their versions, batches and rounds."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse
from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from learnloop.database import Batch, Dataset, DatasetVersion, DatasetVersionParent, Round, reading, session
from learnloop.datasets.versions import dataset_id, get_dataset, no_dataset
from learnloop.loop.balance import balance
from learnloop.loop.progress import Progress, progress
from learnloop.loop.rounds import request_round
from learnloop.loop.standing import standing
from learnloop.loop.steps import Standing
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import Body, Message
from learnloop_airflow.api.idempotency import Key, once
from learnloop_airflow.api.paging import Cursor, Item, Limit, newest_first, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.datasets import BatchItem, DatasetItem, VersionItem
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.rounds import Balance, RoundItem, RoundOpened

routes = Routes()

_head, _base, _made, _parent = (aliased(DatasetVersion) for _ in range(4))
_OF_DATASET, _USER = bindparam("dataset"), bindparam("user")

_DATASET = select(
    Dataset.id,
    Dataset.name,
    Dataset.task_type,
    Dataset.description,
    Dataset.loop["classes"].label("classes"),
    _head.name.label("head"),
    Dataset.owner,
    Dataset.created_at,
).outerjoin(_head, _head.id == Dataset.head_id)
_DATASETS = newest_first(_DATASET, Dataset.id)
_ONE_DATASET = _DATASET.where(Dataset.name == bindparam("name"))

_PARENTS = (
    select(func.array_agg(aggregate_order_by(_parent.name, DatasetVersionParent.position)))
    .select_from(DatasetVersionParent)
    .join(_parent, _parent.id == DatasetVersionParent.parent_id)
    .where(
        DatasetVersionParent.version_id == DatasetVersion.id,
        _parent.personal_to.is_(None) | (_parent.personal_to == _USER),
    )
    .scalar_subquery()
)
_VERSIONS = newest_first(
    select(
        DatasetVersion.id,
        DatasetVersion.name,
        DatasetVersion.tree,
        DatasetVersion.files,
        DatasetVersion.bytes,
        DatasetVersion.message,
        DatasetVersion.provenance,
        _PARENTS.label("parents"),
        DatasetVersion.owner,
        DatasetVersion.created_at,
    ).where(
        DatasetVersion.dataset_id == _OF_DATASET,
        DatasetVersion.personal_to.is_(None) | (DatasetVersion.personal_to == _USER),
    ),
    DatasetVersion.id,
)

_BATCHES = newest_first(
    select(Batch.id, Batch.name, Batch.samples, Batch.tree, Batch.owner, Batch.created_at).where(
        Batch.dataset_id == _OF_DATASET
    ),
    Batch.id,
)

_ROUNDS = newest_first(
    select(
        Round.id,
        Round.number,
        Round.state,
        Round.reason,
        Round.labels,
        _base.name.label("base_version"),
        _made.name.label("version"),
        Round.model_name,
        Round.parent_model_version,
        Round.model_version,
        Round.metrics,
        Round.owner,
        Round.created_at,
        Round.started_at,
        Round.served_at,
        Round.finished_at,
    )
    .outerjoin(_base, _base.id == Round.base_version_id)
    .outerjoin(_made, _made.id == Round.version_id)
    .where(Round.dataset_id == _OF_DATASET),
    Round.id,
)


class StartRound(Body):
    reason: Message = ""


@routes.add("GET", "/datasets", "dataset:read", response_model=Page[DatasetItem])
def list_datasets(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """All datasets, newest first."""
    with reading() as db:
        return page(db, _DATASETS, limit, cursor, _dataset)


@routes.add("GET", "/datasets/{name}", "dataset:read", response_model=DatasetItem)
def show_dataset(name: str) -> dict[str, Any]:
    """A dataset, its classes, and its newest shared version."""
    with reading() as db:
        found = db.execute(_ONE_DATASET, {"name": name}).one_or_none()
    if found is None:
        raise no_dataset(name)
    return _dataset(found._asdict())


@routes.add("GET", "/datasets/{name}/versions", "dataset:read", response_model=Page[VersionItem])
def list_versions(name: str, caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Shared versions, and the caller's own personal ones; newest first."""
    with reading() as db:
        return page(db, _VERSIONS, limit, cursor, _version, dataset=dataset_id(db, name), user=caller.name)


@routes.add("GET", "/datasets/{name}/batches", "batch:read", response_model=Page[BatchItem])
def list_batches(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """A dataset's batches, newest first."""
    with reading() as db:
        return page(db, _BATCHES, limit, cursor, dataset=dataset_id(db, name))


@routes.add("GET", "/datasets/{name}/rounds", "round:read", response_model=Page[RoundItem])
def list_rounds(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """The dataset's rounds with their figures, newest first."""
    with reading() as db:
        return page(db, _ROUNDS, limit, cursor, dataset=dataset_id(db, name))


@routes.add("POST", "/datasets/{name}/rounds", "round:start", status_code=202, answers=RoundOpened, errors=(409,))
def start_round(name: str, wanted: StartRound, caller: Caller, key: Key = None) -> JSONResponse:
    """Start a round by hand with what is confirmed so far; 409 while another is open."""
    with session() as db:

        def do() -> dict[str, Any]:
            opened = request_round(db, get_dataset(db, name), by=caller.name, reason=wanted.reason)
            return {"number": opened.number, "state": opened.state, "run_id": opened.run_id}

        return once(db, caller, key, f"POST /datasets/{name}/rounds", wanted.model_dump(), do, 202)


@routes.add("GET", "/datasets/{name}/progress", "round:read", response_model=Progress)
def show_progress(name: str, caller: Caller) -> Progress:
    """Labels against the training policy's threshold, with its reason, and the caller's own count."""
    with reading() as db:
        return progress(db, get_dataset(db, name), annotator=caller.name)


@routes.add("GET", "/datasets/{name}/loop", "round:read", response_model=Standing)
def show_loop(name: str, caller: Caller) -> Standing:
    """Where the dataset is in the seven steps of the loop, the DAG runs of each, and what waits for a person."""
    with reading() as db:
        return standing(db, get_dataset(db, name), annotator=caller.name)


@routes.add("GET", "/datasets/{name}/balance", "round:read", response_model=Balance)
def show_balance(name: str) -> dict[str, Any]:
    """How many confirmed labels each class has, and how many of them no round has taken yet."""
    with reading() as db:
        return {"items": [vars(found) for found in balance(db, get_dataset(db, name))]}


def _dataset(item: Item) -> Item:
    return {**item, "classes": item["classes"] or []}


def _version(item: Item) -> Item:
    return {**item, "parents": item["parents"] or []}
