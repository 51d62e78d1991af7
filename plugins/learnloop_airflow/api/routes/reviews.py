"""What a reviewer decides, and what is known of people's answers."""

from __future__ import annotations

import mimetypes
from typing import Annotated, Any, Literal

from fastapi import Query
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, joinedload

from learnloop.annotation import own_answers, pool, reviews
from learnloop.annotation.adjudication import adjudicate
from learnloop.annotation.quality import checks, people
from learnloop.annotation.quality.overlap import agreement_of, answers_of
from learnloop.annotation.quality.throughput import by_day
from learnloop.database import Annotation, AnnotationTask, Dataset, QualityCheck, Review, reading, session
from learnloop.datasets.schema import loop_config
from learnloop.datasets.versions import dataset_id, get_dataset
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import TEXT, Body, line
from learnloop_airflow.api.idempotency import Key, once
from learnloop_airflow.api.paging import Cursor, Limit, newest_first, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.quality import CheckItem, OwnAnswer, PersonFigures, QualityDetails, Throughput
from learnloop_airflow.api.shapes.reviews import ReviewDetails, ReviewItem

routes = Routes()

Days = Annotated[int, Query(ge=1, le=90)]
Words = Annotated[str, Field(max_length=2000, pattern=TEXT)]


_REVIEW = (
    select(
        Review.id,
        Dataset.name.label("dataset"),
        Review.task_id,
        AnnotationTask.sample_id,
        Review.kind,
        Review.reason,
        Review.facts,
        Review.decision,
        Review.label,
        Review.decision_reason,
        Review.decided_by,
        Review.decided_at,
        Review.owner,
        Review.created_at,
    )
    .join(AnnotationTask, AnnotationTask.id == Review.task_id)
    .join(Dataset, Dataset.id == Review.dataset_id)
    .where(Review.dataset_id == bindparam("dataset"))
)
_REVIEWS = {
    "open": newest_first(_REVIEW.where(Review.decision.is_(None)), Review.id),
    "decided": newest_first(_REVIEW.where(Review.decision.is_not(None)), Review.id),
    "all": newest_first(_REVIEW, Review.id),
}

_OWN = {
    None: newest_first(own_answers.OWN, Annotation.id),
    "rejected": newest_first(own_answers.OWN.where(Annotation.outcome == "rejected"), Annotation.id),
    "confirmed": newest_first(own_answers.OWN.where(Annotation.outcome != "rejected"), Annotation.id),
}


class WantedReview(Body):
    sample_id: Annotated[str, line(least=1, most=250)]
    reason: Words = ""


class Decision(Body):
    decision: Literal["confirm", "send_back", "reject"]
    label: Annotated[str, line(least=1, most=200)] | None = None
    reason: Words = ""


@routes.add("GET", "/datasets/{name}/reviews", "annotation:review", response_model=Page[ReviewItem])
def list_reviews(
    name: str, state: Literal["open", "decided", "all"] = "open", limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """What waits for a reviewer, or was decided; newest first."""
    with reading() as db:
        return page(db, _REVIEWS[state], limit, cursor, dataset=dataset_id(db, name))


@routes.add("POST", "/datasets/{name}/reviews", "annotation:review", answers=ReviewDetails, status_code=201)
def request_review(name: str, wanted: WantedReview, caller: Caller, key: Key = None) -> JSONResponse:
    """Have a confirmed label decided anew; the review of it that is open already, if one is."""
    with session() as db:

        def do() -> dict[str, Any]:
            dataset = get_dataset(db, name)
            return _whole(db, reviews.request(db, dataset, wanted.sample_id, reason=wanted.reason, by=caller.name))

        return once(db, caller, key, f"POST /datasets/{name}/reviews", wanted.model_dump(), do, 201)


@routes.add("GET", "/reviews/{review_id}", "annotation:review", response_model=ReviewDetails)
def show_review(review_id: int) -> dict[str, Any]:
    """A review with everything that people said of the sample."""
    with reading() as db:
        loaded = joinedload(Review.task), joinedload(Review.dataset)
        return _whole(db, reviews.get_review(db, review_id, *loaded))


@routes.add("POST", "/reviews/{review_id}/decision", "annotation:review", answers=ReviewDetails, errors=(409,))
def decide_review(review_id: int, wanted: Decision, caller: Caller, key: Key = None) -> JSONResponse:
    """Confirm a label, send the sample back to the queue, or reject it; 409 when somebody decided otherwise before."""
    with session() as db:

        def do() -> dict[str, Any]:
            decided = adjudicate(db, review_id, caller.name, wanted.decision, label=wanted.label, reason=wanted.reason)
            db.refresh(decided)
            return _whole(db, decided)

        return once(db, caller, key, f"POST /reviews/{review_id}/decision", wanted.model_dump(), do, 200)


@routes.add("GET", "/datasets/{name}/quality/me", "annotation:claim", response_model=PersonFigures)
def show_own_quality(name: str, caller: Caller) -> dict[str, Any]:
    """What the caller may know of their own answers. What was decided is told in steps, so that no gold task shows."""
    with reading() as db:
        return people.own(db, get_dataset(db, name), caller.name).shown()


@routes.add("GET", "/datasets/{name}/answers/me", "annotation:claim", response_model=Page[OwnAnswer])
def list_own_answers(
    name: str,
    caller: Caller,
    outcome: Literal["confirmed", "rejected"] | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """The caller's own answers that were decided, newest first, and why those that were rejected were. Told in steps, and
    some confirmed ones are left out, so that no gold task shows.
    """
    with reading() as db:
        values = own_answers.parameters(db, dataset_id(db, name), caller.name)
        return page(db, _OWN[outcome], limit, cursor, own_answers.told, **values)


@routes.add("GET", "/datasets/{name}/quality", "annotation:review", response_model=QualityDetails)
def show_quality(name: str) -> dict[str, Any]:
    """Everybody's figures, how far people agree, the policy, and the last check of all answers."""
    with reading() as db:
        dataset = get_dataset(db, name)
        return {
            "policy": loop_config(dataset.loop).quality.model_dump(),
            "people": [person.shown() for person in people.everybodys(db, dataset)],
            "agreement": agreement_of(answers_of(db, dataset)),
            "check": _check(checks.newest(db, dataset)),
        }


@routes.add("GET", "/datasets/{name}/throughput/me", "annotation:claim", response_model=Throughput)
def show_own_throughput(name: str, caller: Caller, days: Days = 14) -> dict[str, Any]:
    """How much the caller answered, day by day."""
    with reading() as db:
        return {"items": [vars(day) for day in by_day(db, get_dataset(db, name), days=days, annotator=caller.name)]}


@routes.add("GET", "/datasets/{name}/throughput", "annotation:review", response_model=Throughput)
def show_throughput(name: str, days: Days = 14) -> dict[str, Any]:
    """How much everybody answered, day by day."""
    with reading() as db:
        return {"items": [vars(day) for day in by_day(db, get_dataset(db, name), days=days)]}


@routes.add("POST", "/datasets/{name}/quality/checks", "annotation:review", status_code=201, response_model=CheckItem)
def check_quality(name: str, caller: Caller) -> dict[str, Any]:
    """Look at all answers now: how annotators confuse classes, and which confirmed labels are suspected."""
    with session() as db:
        return _check(checks.check(db, get_dataset(db, name), owner=caller.name)) or {}


def _check(row: QualityCheck | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "answers": row.answers,
        "confirmed": row.confirmed,
        "suspected": row.suspected,
        "reliability": row.reliability,
        "created_at": _time(row.created_at),
    }


def _review(row: Review) -> dict[str, Any]:
    return {
        "id": row.id,
        "dataset": row.dataset.name,
        "task_id": row.task_id,
        "sample_id": row.task.sample_id,
        "kind": row.kind,
        "reason": row.reason,
        "facts": row.facts,
        "decision": row.decision,
        "label": row.label,
        "decision_reason": row.decision_reason,
        "decided_by": row.decided_by,
        "decided_at": _time(row.decided_at),
        "owner": row.owner,
        "created_at": _time(row.created_at),
    }


def _whole(db: Session, row: Review) -> dict[str, Any]:
    task = row.task
    confirmed = pool.in_force(db, task.dataset_id, task.sample_id)
    return {
        **_review(row),
        "state": task.state,
        "confirmed_label": None if confirmed is None else confirmed.label,
        "content_url": f"/learnloop/api/v1/tasks/{task.id}/content",
        "content_type": mimetypes.guess_type(task.path)[0] or "application/octet-stream",
        "prediction": task.prediction,
        "classes": row.dataset.loop.get("classes", []),
        "answers": [_answer(answer) for answer in reviews.answers_to(db, task)],
    }


def _answer(row: Annotation) -> dict[str, Any]:
    return {
        "annotator": row.owner,
        "label": row.label,
        "comment": row.comment,
        "seconds": row.seconds,
        "outcome": row.outcome,
        "outcome_reason": row.outcome_reason,
        "review": row.review_id,
        "created_at": _time(row.created_at),
    }


def _time(value: Any) -> str | None:
    return None if value is None else value.isoformat()
