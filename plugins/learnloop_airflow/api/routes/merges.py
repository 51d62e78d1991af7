"""Merges: ask for one, look at its conflicts, answer them, complete or cancel it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import Field
from sqlalchemy import bindparam, select
from sqlalchemy.orm import aliased

from learnloop.database import Dataset, DatasetVersion, MergeConflict, MergeRequest, reading, session
from learnloop.datasets.history import visible_version
from learnloop.datasets.merge.requests import (
    answer_conflict,
    cancel_merge,
    complete_merge,
    get_merge,
    hold_merge,
    open_merge,
    resolve_all,
)
from learnloop.datasets.merge.stored import conflicts_of
from learnloop.datasets.merge.words import in_words
from learnloop.datasets.store import Store
from learnloop.datasets.versions import dataset_id
from learnloop.settings import settings
from learnloop_airflow.api import conflict_view
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.etags import IfMatch, etag_of, require
from learnloop_airflow.api.fields import Body, Message, line
from learnloop_airflow.api.paging import Cursor, Limit, newest_first, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.merges import MergeAnswer, MergeDetails, MergeItem
from learnloop_airflow.api.shapes.paging import Page

routes = Routes()

Strategy = Literal["ours", "theirs", "newest", "most_agreed"]


_UNANSWERED: dict[int | str, Any] = {202: {"model": MergeAnswer, "description": "Conflicts wait for an answer"}}
_ours, _theirs, _base, _made = (aliased(DatasetVersion) for _ in range(4))
_MERGE = (
    select(
        MergeRequest.id,
        Dataset.name.label("dataset"),
        MergeRequest.state,
        _ours.name.label("ours"),
        _theirs.name.label("theirs"),
        _base.name.label("base"),
        _made.name.label("version"),
        MergeRequest.message,
        MergeRequest.owner,
        MergeRequest.created_at,
    )
    .join(Dataset, Dataset.id == MergeRequest.dataset_id)
    .join(MergeRequest.ours.of_type(_ours))
    .join(MergeRequest.theirs.of_type(_theirs))
    .outerjoin(MergeRequest.base.of_type(_base))
    .outerjoin(MergeRequest.version.of_type(_made))
    .where(MergeRequest.dataset_id == bindparam("dataset"))
)
_MERGES = {
    **{
        state: newest_first(_MERGE.where(MergeRequest.state == state), MergeRequest.id)
        for state in ("open", "merged", "cancelled")
    },
    "all": newest_first(_MERGE, MergeRequest.id),
}


class NewMerge(Body):
    version: Annotated[str, line(least=1, most=400)]
    strategy: Strategy | None = None
    message: Message = ""


ConflictId = Annotated[str, Field(pattern="^[1-9][0-9]{0,8}$")]


class Answers(Body):
    """Answers by conflict id; ``strategy`` for those that are left."""

    answers: dict[ConflictId, Literal["ours", "theirs", "base"]] = Field(
        default={}, max_length=10_000, json_schema_extra={"additionalProperties": False}
    )
    strategy: Strategy | None = None


@routes.add("GET", "/datasets/{name}/merges", "dataset:read", response_model=Page[MergeItem])
def show_merges(
    name: str,
    state: Literal["open", "merged", "cancelled", "all"] = "open",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """The dataset's merge requests in one state, newest first."""
    with reading() as db:
        return page(db, _MERGES[state], limit, cursor, dataset=dataset_id(db, name))


@routes.add("POST", "/merges", "dataset:merge", answers=MergeAnswer, responses=_UNANSWERED, errors=(404, 409, 423))
def ask_for_merge(wanted: NewMerge, caller: Caller) -> JSONResponse:
    """Merge a version into its dataset's head; what conflicts stays in an open request unless a strategy answers it."""
    with session() as db:
        store = Store(settings().store)
        theirs = visible_version(db, wanted.version, caller.name)
        merge = open_merge(db, store, theirs, owner=caller.name, message=wanted.message)
        if wanted.strategy is not None and merge.state == "open":
            resolve_all(db, merge, wanted.strategy, by=caller.name)
        return _completed(db, store, merge, caller.name)


@routes.add("GET", "/merges/{merge_id}", "dataset:read", response_model=MergeDetails)
def show_merge(merge_id: int, response: Response) -> dict[str, Any]:
    """A merge with its conflicts: the three values of each, advice with its reason, the answer if there is one.

    Its ``ETag`` is what ``If-Match`` of an answer or a cancellation is compared with.
    """
    with reading() as db:
        shown = _details(db, get_merge(db, merge_id))
        response.headers["ETag"] = etag_of(shown)
        return shown


@routes.add("GET", "/merges/{merge_id}/view", "dataset:read", response_class=HTMLResponse)
def view_merge(merge_id: int) -> Response:
    """The conflict view: a page on which a person answers."""
    with reading() as db:
        shown = _details(db, get_merge(db, merge_id))
        made = conflict_view.page(shown, shown["conflicts"], etag_of(shown))
        headers = {"Content-Security-Policy": conflict_view.POLICY, "Cache-Control": "no-store"}
        return HTMLResponse(made, headers=headers)


@routes.add(
    "POST",
    "/merges/{merge_id}/answers",
    "dataset:merge",
    answers=MergeAnswer,
    responses=_UNANSWERED,
    errors=(409, 412, 423),
)
def answer(merge_id: int, wanted: Answers, caller: Caller, if_match: IfMatch = None) -> JSONResponse:
    """Answer conflicts, one by one or by strategy; merges when none is left."""
    with session() as db:
        store, merge = Store(settings().store), _as_seen(db, merge_id, if_match)
        for conflict_id, choice in wanted.answers.items():
            answer_conflict(db, merge, int(conflict_id), choice, by=caller.name)
        if wanted.strategy is not None:
            resolve_all(db, merge, wanted.strategy, by=caller.name)
        return _completed(db, store, merge, caller.name)


@routes.add("DELETE", "/merges/{merge_id}", "dataset:merge", response_model=MergeItem, errors=(409, 412))
def cancel(merge_id: int, caller: Caller, if_match: IfMatch = None) -> dict[str, Any]:
    """Give a merge up; again does no harm."""
    with session() as db:
        merge = _as_seen(db, merge_id, if_match)
        cancel_merge(db, merge, by=caller.name)
        return _merge(merge)


def _completed(db: Any, store: Store, merge: MergeRequest, by: str) -> JSONResponse:
    result = complete_merge(db, store, merge, owner=by)
    body = {
        **_merge(merge),
        "conflicts": result.conflicts,
        "unanswered": result.unanswered,
        "notes": list(result.notes),
    }
    headers = {"ETag": etag_of(_details(db, merge))}
    return JSONResponse(jsonable_encoder(body), 200 if result.version is not None else 202, headers)


def _as_seen(db: Any, merge_id: int, if_match: str | None) -> MergeRequest:
    """The merge, if it is as ``if_match`` says; nobody else changes it until the transaction ends."""
    merge = get_merge(db, merge_id)
    if if_match is not None:
        hold_merge(db, merge)
        require(if_match, etag_of(_details(db, merge)), f"merge {merge_id}")
    return merge


def _details(db: Any, merge: MergeRequest) -> dict[str, Any]:
    return {**_merge(merge), "conflicts": [_conflict(row) for row in conflicts_of(db, merge)]}


def _merge(row: MergeRequest) -> dict[str, Any]:
    return {
        "id": row.id,
        "dataset": row.dataset.name,
        "state": row.state,
        "ours": row.ours.name,
        "theirs": row.theirs.name,
        "base": row.base.name if row.base else None,
        "version": row.version.name if row.version else None,
        "message": row.message,
        "owner": row.owner,
        "created_at": row.created_at,
    }


def _conflict(row: MergeConflict) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "path": row.path,
        "key": row.key,
        "field": row.field,
        "values": row.values,
        "shown": in_words(row.values, row.field),
        "advice": row.advice,
        "answer": row.answer,
        "answer_reason": row.answer_reason,
        "answered_by": row.answered_by,
    }
