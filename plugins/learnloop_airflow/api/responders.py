"""A guard in front of two of Airflow's own routes: to start a run, and to answer a human-in-the-loop form.

For both Airflow asks only for a right to the DAG. One that decides over data needs a right of ours besides: who lacks it
is refused here. For who answers and has it we note the roles, which the task checks again before anything happens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

STARTED = {"dataset_merge": "dataset:merge"}
"""The right that starting a run of a DAG needs."""
ANSWERED = {
    "dataset_merge": "dataset:merge",
    "base_model_training": "model:deploy",
    "incremental_training": "model:deploy",
    "structure_optimization": "model:deploy",
}
"""The right that an answer to a form of a DAG needs."""

_RUN = re.compile(r"/api/v2/dags/(?P<dag>[^/]+)/dagRuns/?")
_ANSWER = re.compile(
    r"/api/v2/dags/(?P<dag>[^/]+)/dagRuns/(?P<run>.+)/taskInstances/(?P<task>[^/]+)/-?\d+/hitlDetails/?"
)
_ROUTES = {"POST": (_RUN, STARTED), "PATCH": (_ANSWER, ANSWERED)}


class RespondersMiddleware:
    """Airflow imports plugins in every process: what is needed is imported with the first answer that is guarded."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found, guarded = None, {}
        if scope["type"] == "http" and scope["method"] in _ROUTES:
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            route, guarded = _ROUTES[scope["method"]]
            found = route.fullmatch(path)
        if found is None or found["dag"] not in guarded:
            await self.app(scope, receive, send)
            return

        from sqlalchemy.exc import OperationalError
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import Request

        from learnloop.errors import LearnloopError, NotAuthenticated
        from learnloop.permissions import Principal, authorize
        from learnloop_airflow.api import auth
        from learnloop_airflow.api.problems import problem

        def note(caller: Principal) -> None:
            from learnloop.database import session
            from learnloop.datasets.merge.responders import vouch_for

            with session() as db:
                vouch_for(db, caller, dag_id=found["dag"], run_id=found["run"], task_id=found["task"])

        try:
            caller = await auth.principal(Request(scope))
            authorize(caller, guarded[found["dag"]])
            if found.re is _ANSWER:
                await run_in_threadpool(note, caller)
        except NotAuthenticated:
            pass  # Airflow refuses it in its own words
        except LearnloopError as error:
            await problem(error.status, error.type, str(error))(scope, receive, send)
            return
        except OperationalError:
            answer = problem(503, "unavailable", "Learnloop's database does not answer; try again in a moment")
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)
