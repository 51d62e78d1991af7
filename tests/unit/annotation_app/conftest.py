"""A small HTTP server with the API's routes and its state in memory, for the page to talk to over a real socket.

The page against the real API is tests/browser; here a test can lapse a lease or take the server down at a chosen
moment.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import double_datasets
import double_reviews
import double_sessions
import double_tasks
import pytest
import uvicorn
from double import Double
from double_server import Server
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from streamlit.testing.v1 import AppTest

from learnloop.errors import LearnloopError
from learnloop.settings import settings

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT))  # the page's package is not installed: Streamlit runs it from its folder


def build(double: Double) -> FastAPI:
    server = Server(double)
    app = server.app

    @app.middleware("http")
    async def note(request: Request, call_next: Callable[[Request], Any]) -> Any:
        double.urls.append(str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""))
        return await call_next(request)

    @app.exception_handler(LearnloopError)
    async def problem(request: Request, error: LearnloopError) -> JSONResponse:
        detail, *problems = str(error).split("\n  - ")  # as InvalidInput lists them
        kind = f"urn:learnloop:problem:{error.type}"
        body = {"type": kind, "status": error.status, "detail": detail, "problems": problems}
        return JSONResponse(body, error.status, media_type="application/problem+json")

    for routes in (double_sessions, double_datasets, double_tasks, double_reviews):
        routes.add(server)
    return app


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnloop.client.BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr("annotation_app.desk.AGAIN_SECONDS", 0.0)


@pytest.fixture
def double() -> Iterator[Double]:
    """The server, running, with ten open tasks and one user a role."""
    roles = {"anna": "annotator", "vera": "viewer", "rita": "reviewer", "sue": "scientist"}
    state = Double({name: (f"secret-{name[0]}", role) for name, role in roles.items()})
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # who comes before the server is up waits
    state.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    state.put(10)
    server = uvicorn.Server(uvicorn.Config(build(state), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield state
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def cookies() -> dict[str, str]:
    """What the browser sends along; a test puts Airflow's ``_token`` in."""
    return {}


@pytest.fixture
def page(double: Double, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The page, not run yet. Streamlit's harness has no browser, so its cookies are put in here."""
    monkeypatch.setenv("LEARNLOOP_API_URL", double.url)
    monkeypatch.setattr("streamlit.runtime.context._get_client_context", lambda: SimpleNamespace(cookies=cookies))
    settings.cache_clear()
    yield AppTest.from_file(str(ROOT / "annotation_app" / "app.py"), default_timeout=60)
    settings.cache_clear()
