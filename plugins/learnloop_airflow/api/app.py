"""The application: its routes, its errors, its limits."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from learnloop import __version__
from learnloop_airflow import tracing
from learnloop_airflow.api import contract, problems
from learnloop_airflow.api.audited import Audited
from learnloop_airflow.api.bodies import LimitBody
from learnloop_airflow.api.counting import Counted, Requests
from learnloop_airflow.api.etags import Conditional
from learnloop_airflow.api.routes import (
    audit,
    datasets,
    events,
    exchange,
    guides,
    locks,
    merges,
    metrics,
    models,
    mounts,
    pipeline_runs,
    pipelines,
    queue,
    reviews,
    runs,
    scoring,
    session,
    storage,
    structure,
    tasks,
    users,
    versions,
    workspaces,
)
from learnloop_airflow.api.routing import Routes, unguarded

_GROUPS = (
    session,
    events,
    runs,
    queue,
    mounts,
    datasets,
    versions,
    locks,
    merges,
    workspaces,
    storage,
    tasks,
    guides,
    exchange,
    reviews,
    models,
    scoring,
    structure,
    pipelines,
    pipeline_runs,
    audit,
    users,
    metrics,
)


def create_app() -> FastAPI:
    """Make the application. No documentation pages: the OpenAPI document is a route like any other, with a right."""
    app = FastAPI(
        title="Learnloop",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect is an answer, and nobody has asked yet who is calling
    )
    problems.install(app)
    app.add_middleware(Conditional)
    app.add_middleware(LimitBody)
    app.add_middleware(Audited)
    app.state.requests, app.state.collector = Requests(), metrics.collector()
    app.add_middleware(Counted, requests=app.state.requests)
    if tracing.active():
        tracing.carry_traces_into_runs()
        app.add_middleware(tracing.Traced)
    for group in _GROUPS:
        app.include_router(group.routes.router)

    about = Routes()

    def openapi_document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = contract.document(app)
        return app.openapi_schema

    app.openapi = openapi_document  # type: ignore[method-assign]

    @about.add("GET", "/openapi.json", "session:read", include_in_schema=False)
    def openapi() -> dict[str, object]:
        return app.openapi()

    app.include_router(about.router)
    if open_to_all := unguarded(app):
        raise RuntimeError(f"these routes ask for no permission (add them with Routes.add): {', '.join(open_to_all)}")
    return app
