"""What goes wrong in a view is said on a page, in words: a frame must not stay blank, nor show JSON."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from learnloop.errors import LearnloopError, NotAuthenticated
from learnloop_airflow.api.problems import answer_of
from learnloop_airflow.views.pages import page

HEADINGS = {
    401: "Log in to see this",
    403: "This is not part of your role",
    404: "There is nothing here",
    422: "This cannot be shown",
    429: "Too many requests",
    500: "Something went wrong here",
    503: "Learnloop does not answer just now",
}
_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Turn every error that leaves ``app`` into a page with the same status."""

    @app.exception_handler(LearnloopError)
    async def ours(request: Request, error: LearnloopError) -> HTMLResponse:
        said, *problems = str(error).split("\n  - ")
        if isinstance(error, NotAuthenticated):
            said = "You are not logged in, or your session has ended."  # the error speaks of tokens
        headers = answer_of(error).headers
        made = refusal(request, error.status, said, problems)
        made.headers.update({name: headers[name] for name in ("retry-after", "connection") if name in headers})
        return made

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> HTMLResponse:
        problems = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors()]
        return refusal(request, 422, "The address is not one that a view has.", problems)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> HTMLResponse:
        said = "No view has this address." if error.status_code == 404 else str(error.detail)
        made = refusal(request, error.status_code, said)
        made.headers.update(error.headers or {})
        return made

    @app.exception_handler(OperationalError)
    async def no_database(request: Request, error: OperationalError) -> HTMLResponse:
        _log.error("%s: %s", request.url.path, error)
        return refusal(request, 503, "Its database cannot be reached. Nothing is lost; try again in a moment.")

    # Starlette logs the traceback of what comes here.
    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> HTMLResponse:
        return refusal(request, 500, "The API server's log says what.")


def refusal(request: Request, status: int, said: str, problems: list[str] | None = None) -> HTMLResponse:
    heading = HEADINGS.get(status) or HTTPStatus(status).phrase
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return page(
        request,
        "refusal.html",
        status,
        heading=heading,
        said=said,
        problems=problems or [],
        code=status,
        address=address,
    )
