"""The view Loop: where each dataset is in the seven steps, how good its models became, what waits for a person."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from learnloop.database import reading
from learnloop.database.rounds import round_run_id
from learnloop.datasets.versions import get_dataset
from learnloop.errors import NotFound
from learnloop.loop.decisions import learning_curve
from learnloop.permissions import Principal, authorize
from learnloop.pipelines.names import pipeline_of
from learnloop.pipelines.stored import find, graph_of
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.paging import Cursor
from learnloop_airflow.api.routes.datasets import list_datasets, list_rounds, show_dataset, show_loop
from learnloop_airflow.api.routes.mounts import list_run_mounts, pipeline_estimate
from learnloop_airflow.api.routes.queue import waiting
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.views.curve import curve
from learnloop_airflow.views.fields import Id, Name
from learnloop_airflow.views.pages import page
from learnloop_airflow.views.runs import Question, Questions, dataset_of

routes = Routes()

AT_ONCE = 10
ROUNDS = 12


@routes.add("GET", "/loop", "round:read", response_class=HTMLResponse)
def loop(
    request: Request, caller: Caller, asked: Questions, dataset: Name = None, cursor: Cursor = None
) -> HTMLResponse:
    """All datasets, or one in full."""
    authorize(caller, "dataset:read")
    if dataset is not None:
        return page(request, "dataset_loop.html", **_in_full(dataset, caller, asked), run=None, line=[], storage=[])
    found = list_datasets(limit=AT_ONCE, cursor=cursor)
    cards = [_card(item, caller, asked) for item in found["items"]]
    line = waiting() if _sees_jobs(caller) else []
    return page(
        request, "loop.html", cards=cards, next=found["next"], first=cursor is None, may=caller.permissions, line=line
    )


@routes.add("GET", "/run", "round:read", response_class=HTMLResponse)
def run(request: Request, caller: Caller, asked: Questions, dag_id: Id, run_id: Id) -> HTMLResponse:
    """The loop of the dataset that a DAG run is about."""
    authorize(caller, "dataset:read")
    name = dataset_of(dag_id, run_id)
    try:
        found = None if name is None else _in_full(name, caller, asked)
    except NotFound:  # a run may fail before it has made its dataset
        found = None
    line = waiting(dag_id, run_id) if _sees_jobs(caller) else []
    storage = _storage(dag_id, run_id, caller) if _sees_jobs(caller) else []
    if found is None:
        about = {"dag_id": dag_id, "run_id": run_id, "dataset": name, "storage": storage}
        return page(request, "run_of_nothing.html", **about, line=line)
    return page(request, "dataset_loop.html", **found, run=(dag_id, run_id), line=line, storage=storage)


def _storage(dag_id: str, run_id: str, caller: Principal) -> list[str]:
    """What a run's mounts cost, by estimate: as it chose them; before that, of a pipeline's, as it would."""
    chosen = list_run_mounts(dag_id, run_id)["items"]
    if chosen or (name := pipeline_of(dag_id)) is None:
        return [line for task in chosen for line in task["explanation"]]
    try:
        with reading() as db:
            ahead = pipeline_estimate(graph_of(find(db, name, user=caller.name)))
    except NotFound:  # another person's, or removed since
        return []
    return [ahead["cannot"]] if ahead["cannot"] else (ahead["estimate"] or {}).get("explanation", [])


def _sees_jobs(caller: Principal) -> bool:
    return "pipeline:read" in caller.permissions


def _in_full(name: str, caller: Principal, asked: list[Question]) -> dict[str, Any]:
    card = _card(show_dataset(name), caller, asked)
    rounds = [
        {**row, "run_id": row["metrics"].get("run_id") or round_run_id(name, row["number"])}
        for row in list_rounds(name, limit=ROUNDS)["items"]
    ]
    return {**card, "may": caller.permissions, "rounds": rounds}


def _card(dataset: dict[str, Any], caller: Principal, asked: list[Question]) -> dict[str, Any]:
    with reading() as db:
        points = learning_curve(db, get_dataset(db, dataset["name"]))
    return {
        "dataset": dataset,
        "standing": show_loop(dataset["name"], caller),
        "curve": curve(points),
        "best": max((point.accuracy for point in points if point.state == "accepted"), default=None),
        "questions": [question for question in asked if question.dataset == dataset["name"]],
    }
