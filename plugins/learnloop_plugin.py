"""The one file that Airflow loads as a plugin: it mounts Learnloop's API in Airflow's API server."""

from __future__ import annotations

import gc
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from learnloop_airflow.api.logins import LoginAudit
from learnloop_airflow.api.responders import RespondersMiddleware


class _Lazy:
    """An ASGI application that is built at its first request.

    Airflow imports plugins in every process, also in those that parse DAG files; only the API server serves this one.
    """

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from learnloop_airflow.api.app import create_app

            self._app = create_app()
            # What is loaded by now stays: looking through it for garbage stopped all requests for half a second at a time.
            gc.collect()
            gc.freeze()
        await self._app(scope, receive, send)


class LearnloopPlugin(AirflowPlugin):
    name = "learnloop"
    fastapi_apps = [  # noqa: RUF012 - Airflow's form
        {"app": _Lazy(), "url_prefix": "/learnloop/api/v1", "name": "Learnloop API"}
    ]
    fastapi_root_middlewares = [  # noqa: RUF012 - Airflow's form
        {"middleware": RespondersMiddleware, "name": "who may answer forms that decide over data"},
        {"middleware": LoginAudit, "name": "logins, logouts and refusals, for the audit log"},
    ]
