"""From a template to an answer: one environment, one look, one Content-Security-Policy for all views."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

PREFIX = "/learnloop/views"
"""Where Airflow mounts the views."""
HERE = Path(__file__).parent
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The page that ``template`` makes of ``values``."""
    style, script = _asset("views.css"), _asset("views.js")
    root = request.scope.get("root_path", "").removesuffix(PREFIX)
    made = _environment().get_template(template)
    html = made.render(
        values,
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own files
        root=root,
        prefix=root + PREFIX,
        here=request.url.path.removeprefix(root + PREFIX).strip("/"),
    )
    return HTMLResponse(html, status, headers={"Content-Security-Policy": policy()})


@cache
def policy() -> str:
    """Nothing from elsewhere; of styles and scripts only the two files, which stand in each page and are known by hash.

    So a page that refuses somebody looks like the others, though its reader may fetch nothing. Airflow may frame it.
    """
    return (
        f"default-src 'none'; style-src {_hash('views.css')}; script-src {_hash('views.js')}; connect-src 'self';"
        " img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )


def airflow_run(dag_id: str | None, run_id: str | None) -> str:
    """Airflow's page of a run, or of a DAG; relative to where Airflow is."""
    dag = f"/dags/{quote(dag_id or '', safe='')}"
    return f"{dag}/runs/{quote(run_id, safe='')}" if run_id else dag


def ago(then: datetime) -> str:
    """``then`` in words: how long since, or until."""
    seconds = (datetime.now(UTC) - then).total_seconds()
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if abs(seconds) >= size:
            count = int(abs(seconds) // size)
            span = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"{span} ago" if seconds > 0 else f"in {span}"
    return "just now" if seconds >= 0 else "in less than a minute"


def in_bytes(count: float) -> str:
    for unit in _UNITS[:-1]:
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def query(**values: Any) -> str:
    """The query of a link; what is None is left out."""
    return urlencode({name: value for name, value in values.items() if value is not None})


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"ago": ago, "in_bytes": in_bytes, "percent": percent}
    made.globals |= {"airflow_run": airflow_run, "query": query}
    return made


@cache
def _asset(name: str) -> str:
    return (HERE / "assets" / name).read_text()


def _hash(name: str) -> str:
    digest = hashlib.sha256(_asset(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
