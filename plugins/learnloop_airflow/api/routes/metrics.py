"""Figures for Prometheus, in its text format: of this server process, and of the loop, which every server tells alike."""

from __future__ import annotations

from fastapi import Request, Response

from learnloop.database import reading
from learnloop.monitoring.collector import Collector, loop_parts
from learnloop.monitoring.families import CONTENT_TYPE
from learnloop_airflow.airflow_figures import airflow_part
from learnloop_airflow.api.routing import Routes

routes = Routes()
_NOT_KEPT = {"Cache-Control": "no-store"}


def collector() -> Collector:
    """What `loop_metrics` tells."""
    return Collector([*loop_parts(reading), airflow_part()])


@routes.add("GET", "/metrics", "metrics:read", include_in_schema=False, limited=False)
def server_metrics(request: Request) -> Response:
    """How this process is and what it answered: to be asked of each server."""
    return Response(request.app.state.requests.text(), media_type=CONTENT_TYPE, headers=_NOT_KEPT)


@routes.add("GET", "/metrics/loop", "metrics:read", include_in_schema=False, limited=False)
def loop_metrics(request: Request) -> Response:
    """What the databases say of the loop and of Airflow: to be asked of one server, whichever."""
    return Response(request.app.state.collector.text(), media_type=CONTENT_TYPE, headers=_NOT_KEPT)
