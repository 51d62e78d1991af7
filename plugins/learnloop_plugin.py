"""The one file that Airflow loads as a plugin: it mounts Learnloop's API and views in Airflow's API server."""

from __future__ import annotations

from typing import Any

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from learnloop_airflow.api.logins import LoginAudit
from learnloop_airflow.api.responders import RespondersMiddleware
from learnloop_airflow.mounted import MadeAtStart, Mounted


def _api() -> Any:
    from learnloop_airflow.api.app import create_app

    return create_app()


def _views() -> Any:
    from learnloop_airflow.views.app import create_views

    return create_views()


_API, _VIEWS = Mounted(_api), Mounted(_views)
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='{}'"
    " stroke-width='2' stroke-linecap='round' stroke-linejoin='round'%3E%3Cpath d='{}'/%3E%3C/svg%3E"
)
_LOOP = "M4 12a8 8 0 0 1 13.7-5.7L20 8.5M20 4v4.5h-4.5M20 12a8 8 0 0 1-13.7 5.7L4 15.5M4 20v-4.5h4.5"
_DATASETS = "M4 6c0-4 16-4 16 0s-16 4-16 0v12c0 4 16 4 16 0V6M4 12c0 4 16 4 16 0"
_MODELS = "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5"
_ANNOTATE = "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4"


def _view(name: str, path: str, drawn: str, destination: str = "nav") -> dict[str, Any]:
    """A page of ours in a frame of Airflow's: in its navigation, or a tab on pages of its runs.

    Only the Loop is on top of the navigation, which has no room for more on a small screen; it leads to the others, and so
    does Airflow's menu of plugins.
    """
    return {
        "name": name,
        "href": f"learnloop/views/{path}",  # relative: Airflow may be served below a path
        "destination": destination,
        "url_route": f"learnloop-{path.partition('?')[0]}",
        "icon": _ICON.format("%237489ab", drawn),
        "icon_dark_mode": _ICON.format("%23c3cfe2", drawn),
        "nav_top_level": path == "loop",
    }


def _listeners() -> list[Any]:
    """Only where they are of use: Airflow calls listeners in every task."""
    if not conf.getboolean("traces", "otel_on", fallback=False):
        return []
    from learnloop_airflow import trace_log

    return [trace_log]


class LearnloopPlugin(AirflowPlugin):
    name = "learnloop"
    listeners = _listeners()
    fastapi_apps = [  # noqa: RUF012 - Airflow's form
        {"app": _API, "url_prefix": "/learnloop/api/v1", "name": "Learnloop API"},
        {"app": _VIEWS, "url_prefix": "/learnloop/views", "name": "Learnloop views"},
    ]
    external_views = [  # noqa: RUF012 - Airflow's form
        _view("Loop", "loop", _LOOP),
        _view("Datasets", "datasets", _DATASETS),
        _view("Models", "models", _MODELS),
        _view("Annotate", "annotate", _ANNOTATE),
        _view("Loop", "run?dag_id={DAG_ID}&run_id={RUN_ID}", _LOOP, "dag_run"),
    ]
    fastapi_root_middlewares = [  # noqa: RUF012 - Airflow's form
        {"middleware": MadeAtStart, "name": "Learnloop's API and views, made before the first request"},
        {"middleware": RespondersMiddleware, "name": "who may answer forms that decide over data"},
        {"middleware": LoginAudit, "name": "logins, logouts and refusals, for the audit log"},
    ]
