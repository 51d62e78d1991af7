"""The application that serves the views; Airflow mounts it beside the API, with the same login and the same rights."""

from __future__ import annotations

from fastapi import FastAPI

from learnloop_airflow.api.audited import Audited
from learnloop_airflow.api.bodies import LimitBody
from learnloop_airflow.api.etags import Conditional
from learnloop_airflow.api.routing import unguarded
from learnloop_airflow.views import annotate, datasets, loop, models, refusals

GROUPS = (loop, datasets, models, annotate)


def create_views() -> FastAPI:
    """Make the application. Its pages only read: what they have a person do, their script asks of the API."""
    app = FastAPI(title="Learnloop's views", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    refusals.install(app)
    app.add_middleware(Conditional)
    app.add_middleware(LimitBody)
    app.add_middleware(Audited)
    for group in GROUPS:
        app.include_router(group.routes.router)
    if open_to_all := unguarded(app):
        raise RuntimeError(f"these views ask for no permission (add them with Routes.add): {', '.join(open_to_all)}")
    return app
