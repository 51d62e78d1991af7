"""Annotation tasks: claim, look, answer, skip."""

from __future__ import annotations

import mimetypes
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import joinedload

from learnloop.annotation import answers, listing, queue
from learnloop.annotation.claiming import Handed
from learnloop.annotation.configured import Configured
from learnloop.annotation.undo import undo
from learnloop.database import AnnotationTask, Dataset, reading, session
from learnloop.datasets.versions import dataset_id, get_dataset
from learnloop.errors import NotFound, PermissionDenied
from learnloop.permissions import Principal
from learnloop_airflow.api import audited, samples
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import TEXT, Body, Moment, line
from learnloop_airflow.api.idempotency import Key, once
from learnloop_airflow.api.paging import Cursor, Item, Limit, newest_first, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.locks import Released
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.tasks import QueuedItem, Received, Renewed, Skipped, TaskItem, Undone

routes = Routes()

SHOWN_REASON = ("strategy", "margin", "model_version", "sent_back")
"""What is shown of why a task was chosen; ``sent_back``: what a reviewer said who sent it back. Not its rank and score: a
gold task has none, and must look like any other."""

Text = Annotated[str, Field(max_length=2000, pattern=TEXT)]
State = Literal["open", "skipped", "claimed", "answered", "review", "confirmed", "rejected"]
Name = Annotated[str | None, Query(max_length=250, pattern=TEXT)]
Beside = Annotated[int | None, Query(ge=1, lt=2**31)]
Confidence = Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)]


class Answer(Body):
    label: Annotated[str, line(least=1, most=200)]
    seconds: float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)
    comment: Text = ""


class Skip(Body):
    reason: Text = ""


@routes.add(
    "POST",
    "/datasets/{name}/tasks/claim",
    "annotation:claim",
    answers=TaskItem,
    responses={204: {"description": "There is no task for the caller"}},
)
def claim_task(name: str, caller: Caller, beside: Beside = None) -> Response:
    """Lease the next task to the caller; 204 when there is none for them. Again gives the same.

    With ``beside``, the id of a task that they hold, the one to follow it is leased in advance, and they hold two.
    """
    with session() as db:
        dataset, task = queue.claim_in(db, name, caller.name, beside=beside)
        audited.write_with(db, 204 if task is None else 200)
        return Response(status_code=204) if task is None else JSONResponse(_task(task, dataset))


@routes.add("GET", "/datasets/{name}/tasks", "annotation:read", response_model=Page[QueuedItem])
def list_tasks(
    name: str,
    caller: Caller,
    state: State = "open",
    label: Name = None,
    batch: Name = None,
    least_confidence: Confidence = 0,
    most_confidence: Confidence = 1,
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Tasks to choose from, newest first: by the label that the model predicts, its confidence, batch, and when they came.

    ``skipped`` are those that the caller skipped. States other than these two are a reviewer's to list (and theirs who
    do not answer). For who answers, some open tasks are left out, so that a list does not tell what is gold.
    """
    complete = "annotation:review" in caller.permissions or "annotation:claim" not in caller.permissions
    if state not in listing.ANYBODYS and not complete:
        raise PermissionDenied(
            f"{caller.name} may not list {state} tasks: it needs annotation:review; open and skipped ones are there"
        )
    wanted = listing.Wanted(state, label, batch, least_confidence, most_confidence, since, until)
    with reading() as db:
        found = listing.tasks(wanted, dataset_id(db, name), caller.name, complete=complete)
        found = newest_first(found, AnnotationTask.id, by_negative=True)
        listed = page(db, found, limit, cursor, lambda task: _queued(task, state))
        if state == "skipped":
            reasons = listing.skip_reasons(db, [item["id"] for item in listed["items"]], caller.name)
            for item in listed["items"]:
                item["skip_reason"] = reasons[item["id"]]
        return listed


@routes.add("POST", "/tasks/{task_id}/claim", "annotation:claim", answers=TaskItem, errors=(409,))
def choose_task(task_id: int, caller: Caller) -> JSONResponse:
    """Lease a chosen task to the caller; what they held goes back to the queue, and again does no harm.

    409 when somebody else is answering it, when the caller has answered it, or when nothing is left to do for it.
    """
    with session() as db:
        lease = queue.get_task(db, task_id).dataset.loop.get("quality", {}).get("lease_seconds", 300)
        task = listing.choose(db, task_id, caller.name, lease_seconds=lease)
        audited.write_with(db, 200)
        return JSONResponse(_task(task, task.dataset))


@routes.add("DELETE", "/tasks/{task_id}/claim", "annotation:claim", response_model=Released)
def release_task(task_id: int, caller: Caller) -> dict[str, Any]:
    """Give a task back unanswered, so that others may have it at once. One that the caller does not hold stays as it is."""
    with session() as db:
        queue.release(db, task_id, caller.name)
        audited.write_with(db, 200)
        return {"released": True}


@routes.add("POST", "/datasets/{name}/tasks/undo", "annotation:claim", answers=Undone, errors=(409,))
def undo_answer(name: str, caller: Caller, key: Key = None) -> JSONResponse:
    """Take the caller's last answer or skip back while nothing followed from it (409 after), and lease its task to them.

    ``task`` is null when somebody else is answering the sample just now. What was claimed meanwhile is given back.
    """
    with session() as db:

        def do() -> dict[str, Any]:
            dataset = get_dataset(db, name)
            lease = dataset.loop.get("quality", {}).get("lease_seconds", 300)
            task = undo(db, dataset, caller.name, lease_seconds=lease)
            return {"task": None if task is None else _task(task, dataset)}

        return once(db, caller, key, f"POST /datasets/{name}/tasks/undo", {}, do, 200)


@routes.add("GET", "/tasks/{task_id}", "annotation:read", response_model=TaskItem)
def show_task(task_id: int, caller: Caller) -> dict[str, Any]:
    """An annotation task, and what the model predicts."""
    with reading() as db:
        task = _visible(queue.get_task(db, task_id, joinedload(AnnotationTask.dataset)), caller)
        return _task(task, task.dataset)


@routes.add(
    "GET",
    "/tasks/{task_id}/content",
    "annotation:read",
    response_class=Response,
    errors=(409,),
    responses={200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
def show_content(task_id: int, caller: Caller) -> Response:
    """The sample's bytes, checked against their checksum: 404 when they are gone, 409 when they are damaged."""
    with reading() as db:
        task = Handed.of(_visible(queue.get_task(db, task_id), caller))
    # A sample is somebody's upload: nothing in it may run in the page's name.
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": "inline",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(samples.read(task), media_type=_type_of(task.path), headers=headers)


@routes.add("POST", "/tasks/{task_id}/annotation", "annotation:claim", status_code=201, answers=Received, errors=(409,))
def submit_answer(task_id: int, answer: Answer, caller: Caller, key: Key = None, next: bool = False) -> JSONResponse:
    """Answer a task, and with ``next`` claim the next one, as a request of its own would. What becomes of the answer is not
    said here: a gold task must look like any other. 409 also when the sample is gone or damaged: nobody has seen it.
    """
    with session() as db:

        def do() -> dict[str, Any]:
            samples.check(db, task_id)
            made = answers.store(db, task_id, caller.name, answer.label, seconds=answer.seconds, comment=answer.comment)
            return {"id": made, "task_id": task_id, "received": True}

        received = once(db, caller, key, f"POST /tasks/{task_id}/annotation", answer.model_dump(), do, 201)
    if not next:
        return received
    # Apart from the answer: that is kept whatever comes of this, and its transaction holds the dataset's row.
    with session() as db:
        dataset, task = queue.claim_after(db, task_id, caller.name)
        following = None if task is None else _task(task, dataset)
    return JSONResponse({**received.content, "next": following}, received.status_code)


@routes.add("POST", "/tasks/{task_id}/skip", "annotation:claim", answers=Skipped, errors=(409, 410))
def skip_task(task_id: int, wanted: Skip, caller: Caller, key: Key = None) -> JSONResponse:
    """Give a task back, with a reason; the caller is not asked about it again."""
    with session() as db:

        def do() -> dict[str, Any]:
            queue.skip(db, task_id, caller.name, wanted.reason)
            return {"task_id": task_id, "skipped": True}

        return once(db, caller, key, f"POST /tasks/{task_id}/skip", wanted.model_dump(), do, 200)


@routes.add("POST", "/tasks/{task_id}/renew", "annotation:claim", response_model=Renewed, errors=(409, 410))
def renew_lease(task_id: int, caller: Caller) -> dict[str, Any]:
    """Keep a claimed task for another lease."""
    with session() as db:
        task = queue.renew(db, task_id, caller.name)
        audited.write_with(db, 200)
        return {"task_id": task_id, "lease_expires_at": _time(task.lease_expires_at)}


def _visible(task: AnnotationTask, caller: Principal) -> AnnotationTask:
    """A task is its claimer's to see, and a reviewer's. To others it does not exist."""
    if task.claimed_by != caller.name and "annotation:review" not in caller.permissions:
        raise NotFound(f"there is no task {task.id} that {caller.name} has claimed")
    return task


def _task(task: AnnotationTask | Handed, dataset: Dataset | Configured) -> dict[str, Any]:
    samples.remember(task)
    return {
        "id": task.id,
        "dataset": dataset.name,
        "sample_id": task.sample_id,
        "task_type": dataset.task_type,
        "path": task.path,
        "content_type": _type_of(task.path),
        "content_url": f"/learnloop/api/v1/tasks/{task.id}/content",
        "prediction": task.prediction,
        "classes": dataset.loop.get("classes", []),
        "chosen_by": {name: task.reason[name] for name in SHOWN_REASON if name in task.reason},
        "lease_expires_at": _time(task.lease_expires_at),
    }


def _queued(task: Item, state: str) -> Item:
    """A gold task has no batch, no priority, and came when it was handed out: of what was skipped, none is told."""
    hidden = dict.fromkeys(("priority", "batch", "created_at")) if state == "skipped" else {}
    return {**task, **hidden, "state": state, "skip_reason": None}


def _type_of(path: str) -> str:
    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _time(value: Any) -> str | None:
    return None if value is None else value.isoformat()
