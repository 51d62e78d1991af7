"""Merges: ask for one, look at its conflicts, answer them, complete or cancel it."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field

from learnloop.database import MergeConflict, MergeRequest, session
from learnloop.datasets.history import visible_version
from learnloop.datasets.merge.requests import (
    answer_conflict,
    cancel_merge,
    complete_merge,
    get_merge,
    list_merges,
    open_merge,
    resolve_all,
)
from learnloop.datasets.merge.stored import conflicts_of
from learnloop.datasets.merge.words import in_words
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_dataset
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.conflict_view import POLICY, page
from learnloop_airflow.api.routing import Routes

routes = Routes()

Strategy = Literal["ours", "theirs", "newest", "most_agreed"]


class NewMerge(BaseModel):
    version: str = Field(min_length=1, max_length=400)
    strategy: Strategy | None = None
    message: str = Field(default="", max_length=2000)


class Answers(BaseModel):
    """Answers by conflict id; ``strategy`` for those that are left."""

    answers: dict[int, Literal["ours", "theirs", "base"]] = Field(default={}, max_length=10_000)
    strategy: Strategy | None = None


@routes.add("GET", "/datasets/{name}/merges", "dataset:read")
def show_merges(name: str, state: Literal["open", "merged", "cancelled", "all"] = "open") -> dict[str, Any]:
    with session() as db:
        found = list_merges(db, get_dataset(db, name), state=None if state == "all" else state)
        return {"items": [_merge(row) for row in found], "next": None}


@routes.add("POST", "/merges", "dataset:merge")
def ask_for_merge(wanted: NewMerge, caller: Caller) -> JSONResponse:
    """Merge a version into its dataset's head; what conflicts stays in an open request unless a strategy answers it."""
    with session() as db:
        store = Store(settings().store)
        theirs = visible_version(db, wanted.version, caller.name)
        merge = open_merge(db, store, theirs, owner=caller.name, message=wanted.message)
        if wanted.strategy is not None and merge.state == "open":
            resolve_all(db, merge, wanted.strategy, by=caller.name)
        return _completed(db, store, merge, caller.name)


@routes.add("GET", "/merges/{merge_id}", "dataset:read")
def show_merge(merge_id: int) -> dict[str, Any]:
    """A merge with its conflicts: the three values of each, advice with its reason, the answer if there is one."""
    with session() as db:
        merge = get_merge(db, merge_id)
        return {**_merge(merge), "conflicts": [_conflict(row) for row in conflicts_of(db, merge)]}


@routes.add("GET", "/merges/{merge_id}/view", "dataset:read")
def view_merge(merge_id: int) -> Response:
    """The conflict view: a page on which a person answers."""
    with session() as db:
        merge = get_merge(db, merge_id)
        made = page(_merge(merge), [_conflict(row) for row in conflicts_of(db, merge)])
        return HTMLResponse(made, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})


@routes.add("POST", "/merges/{merge_id}/answers", "dataset:merge")
def answer(merge_id: int, wanted: Answers, caller: Caller) -> JSONResponse:
    """Answer conflicts, one by one or by strategy; merges when none is left."""
    with session() as db:
        store, merge = Store(settings().store), get_merge(db, merge_id)
        for conflict_id, choice in wanted.answers.items():
            answer_conflict(db, merge, conflict_id, choice, by=caller.name)
        if wanted.strategy is not None:
            resolve_all(db, merge, wanted.strategy, by=caller.name)
        return _completed(db, store, merge, caller.name)


@routes.add("DELETE", "/merges/{merge_id}", "dataset:merge")
def cancel(merge_id: int, caller: Caller) -> dict[str, Any]:
    with session() as db:
        merge = get_merge(db, merge_id)
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
    return JSONResponse(jsonable_encoder(body), status_code=200 if result.version is not None else 202)


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
