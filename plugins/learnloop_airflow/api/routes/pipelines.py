"""Pipelines: applied, looked at, removed. Their runs: `pipeline_runs`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from fastapi.responses import JSONResponse
from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session, aliased

from learnloop.database import Pipeline, PipelineVersion, reading, session
from learnloop.pipelines.checking import limits_of
from learnloop.pipelines.graph import Graph
from learnloop.pipelines.holdings import release
from learnloop.pipelines.inputs import missing
from learnloop.pipelines.names import dag_id_of
from learnloop.pipelines.stored import apply, check_text, find, graph_of, remove, visible
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import Body, Message
from learnloop_airflow.api.idempotency import Key, once
from learnloop_airflow.api.paging import Cursor, Item, Limit, newest_first, page
from learnloop_airflow.api.routes.mounts import pipeline_estimate
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.pipelines import (
    PipelineApplied,
    PipelineDetails,
    PipelineItem,
    PipelineReleased,
    PipelineRemoved,
    PipelineVersionItem,
)

routes = Routes()

Number = Annotated[int, Path(ge=1, lt=2**31)]

_USER = bindparam("user")
_newer = aliased(PipelineVersion)
_PIPELINES = newest_first(
    select(
        Pipeline.id,
        Pipeline.name,
        Pipeline.personal_to,
        Pipeline.owner,
        PipelineVersion.number,
        PipelineVersion.graph,
        PipelineVersion.created_at,
    )
    .join(PipelineVersion, PipelineVersion.pipeline_id == Pipeline.id)
    .where(
        Pipeline.personal_to.is_(None) | (Pipeline.personal_to == _USER),
        ~PipelineVersion.removed,
        PipelineVersion.number
        == select(func.max(_newer.number)).where(_newer.pipeline_id == Pipeline.id).scalar_subquery(),
    ),
    Pipeline.id,
)
_VERSIONS = newest_first(
    select(
        PipelineVersion.id,
        PipelineVersion.number,
        PipelineVersion.message,
        PipelineVersion.graph["extends"].as_string().label("extends"),
        PipelineVersion.removed,
        PipelineVersion.provenance,
        PipelineVersion.owner,
        PipelineVersion.created_at,
    ).where(PipelineVersion.pipeline_id == bindparam("pipeline")),
    PipelineVersion.id,
)


class NewVersion(Body):
    """``declaration`` is YAML or JSON, at most 128 KiB (docs/pipelines.md). ``dry_run``: check it and change nothing."""

    declaration: str
    message: Message = ""
    personal: bool = False
    dry_run: bool = False


@routes.add("POST", "/pipelines", "pipeline:create", status_code=201, answers=PipelineApplied, errors=(409,))
def apply_pipeline(wanted: NewVersion, caller: Caller, key: Key = None) -> JSONResponse:
    """Check a declaration and keep it as the newest version of its pipeline; 422 with a list of all that is wrong.

    Airflow shows it within seconds. The same again is no new version.
    """
    with session() as db:

        def do() -> dict[str, Any]:
            checked = check_text(
                db,
                wanted.declaration,
                user=caller.name,
                limits=limits_of(settings()),
                missing=missing(db, caller.name),
            )
            made = None
            if not wanted.dry_run:
                made = apply(db, checked, user=caller.name, message=wanted.message, personal=wanted.personal)
            return {
                "name": checked.graph.name,
                "version": None if made is None else made.number,
                "dag_id": dag_id_of(checked.graph.name),
                "extends": checked.graph.extends,
                "whole": checked.graph.declaration(),
                "mounts": pipeline_estimate(checked.graph),
            }

        return once(db, caller, key, "POST /pipelines", wanted.model_dump(), do, 201)


@routes.add("GET", "/pipelines", "pipeline:read", response_model=Page[PipelineItem])
def list_pipelines(caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Shared pipelines and the caller's own, each at its newest version; the newest first."""
    with reading() as db:
        return page(db, _PIPELINES, limit, cursor, _item, user=caller.name)


@routes.add("GET", "/pipelines/{name}", "pipeline:read", response_model=PipelineDetails)
def show_pipeline(name: str, caller: Caller) -> dict[str, Any]:
    """The newest version."""
    with reading() as db:
        return _details(db, find(db, name, user=caller.name), caller.name)


@routes.add("GET", "/pipelines/{name}/versions", "pipeline:read", response_model=Page[PipelineVersionItem])
def list_pipeline_versions(name: str, caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """A pipeline's versions, newest first."""
    with reading() as db:
        return page(db, _VERSIONS, limit, cursor, pipeline=visible(db, name, user=caller.name).id)


@routes.add("GET", "/pipelines/{name}/versions/{number}", "pipeline:read", response_model=PipelineDetails)
def show_pipeline_version(name: str, number: Number, caller: Caller) -> dict[str, Any]:
    """One version of a pipeline: what was given, and the graph that it stands for."""
    with reading() as db:
        return _details(db, find(db, name, number, user=caller.name), caller.name)


@routes.add("DELETE", "/pipelines/{name}", "pipeline:create", response_model=PipelineRemoved, errors=(409,))
def remove_pipeline(name: str, caller: Caller) -> dict[str, Any]:
    """Take it out of Airflow; 409 while a run of it is under way. What ran, and what was declared, stays to be looked at."""
    from learnloop_airflow.pipelines.airflow_runs import refuse_under_way

    with session() as db:
        find(db, name, user=caller.name)
        refuse_under_way(name)
        remove(db, name, user=caller.name)
    return {"removed": True}


@routes.add("DELETE", "/pipelines/{name}/resources", "pipeline:run", response_model=PipelineReleased, errors=(409,))
def release_resources(name: str, caller: Caller) -> dict[str, Any]:
    """Give back what it holds beyond its runs; results and models stay. 409 while a run of it is under way."""
    from learnloop_airflow.mounts.home import remove_pipeline_mounts
    from learnloop_airflow.pipelines.airflow_runs import refuse_under_way

    with session() as db:
        pipeline = visible(db, name, user=caller.name)
        refuse_under_way(name)
        return {"released": {**release(db, pipeline), "mounts": len(remove_pipeline_mounts(dag_id_of(name)))}}


def _item(row: Item) -> Item:
    return _said(Graph.model_validate(row["graph"]), row["number"], row["personal_to"], row["owner"], row["created_at"])


def _details(db: Session, found: PipelineVersion, user: str) -> Item:
    graph, pipeline = graph_of(found), found.pipeline
    of = select(PipelineVersion.id).where(PipelineVersion.pipeline_id == pipeline.id).scalar_subquery()
    derived = (
        select(Pipeline.name)
        .join(PipelineVersion, PipelineVersion.pipeline_id == Pipeline.id)
        .where(PipelineVersion.base_id.in_(of), Pipeline.personal_to.is_(None) | (Pipeline.personal_to == user))
        .distinct()
        .order_by(Pipeline.name)
    )
    return {
        **_said(graph, found.number, pipeline.personal_to, found.owner, found.created_at),
        "message": found.message,
        "provenance": found.provenance,
        "declaration": found.declaration,
        "whole": graph.declaration(),
        "mounts": pipeline_estimate(graph),
        "derived": list(db.scalars(derived)),
    }


def _said(graph: Graph, number: int, personal_to: str | None, owner: str, created_at: Any) -> Item:
    return {
        "name": graph.name,
        "version": number,
        "description": graph.description,
        "dag_id": dag_id_of(graph.name),
        "stages": list(graph.stages),
        "extends": graph.extends,
        "personal": personal_to is not None,
        "owner": owner,
        "created_at": created_at,
    }
