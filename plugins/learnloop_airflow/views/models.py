"""The view Models: what is served, versions side by side; promote, and take back."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from learnloop.models.deployment import ALIASES
from learnloop.permissions import authorize
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.paging import Cursor
from learnloop_airflow.api.routes.models import (
    compare_versions,
    list_decisions,
    list_deployments,
    list_models,
    list_versions,
)
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.views.fields import Name, Number
from learnloop_airflow.views.pages import page

routes = Routes()

LISTED = 50
DECISIONS = 10
MOST_CLASSES = 30
"""A confusion of more classes is not drawn; its counts are in the version's report."""
SHADES = 8


@routes.add("GET", "/models", "model:read", response_class=HTMLResponse)
def models(
    request: Request,
    caller: Caller,
    model: Name = None,
    before: Number = None,
    after: Number = None,
    cursor: Cursor = None,
) -> HTMLResponse:
    """All models with what is served of them; or the versions of one, and two of them side by side."""
    authorize(caller, "deployment:read")
    if model is None:
        served, named = _deployments(), list_models(limit=LISTED, cursor=cursor)
        found = [
            {"name": item["name"], "served": [row for row in served if row["model_name"] == item["name"]]}
            for item in named["items"]
        ]
        return page(request, "models.html", models=found, next=named["next"])
    versions = list_versions(model, limit=LISTED, cursor=cursor)
    if before is None and after is None:
        measured = [version["version"] for version in versions["items"] if "accuracy" in version["metrics"]]
        after, before, *_ = [*measured, None, None]
    side_by_side = None if before is None or after is None else compare_versions(model, before, after)
    return page(
        request,
        "model.html",
        model=model,
        versions=versions,
        first=cursor is None,
        served=[row for row in _deployments() if row["model_name"] == model],
        compared=side_by_side,
        matrices=_matrices(side_by_side),
        decisions=list_decisions(model, limit=DECISIONS)["items"],
        before=before,
        after=after,
        aliases=[alias for alias in ALIASES if alias != "current"],
        may_deploy="model:deploy" in caller.permissions,
    )


def _deployments() -> list[dict[str, Any]]:
    part = list_deployments(limit=200)
    found = part["items"]
    while part["next"] is not None:
        part = list_deployments(limit=200, cursor=part["next"])
        found += part["items"]
    return sorted(found, key=lambda row: (row["model_name"], row["alias"]))


def _matrices(compared: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The confusions of both; each cell is its count, how dark it is (0 to 8, by its share of the row), right or wrong."""
    if compared is None or not compared["confusion"]["classes"]:
        return []
    classes = compared["confusion"]["classes"]
    found = []
    for side in ("before", "after"):
        counts = compared["confusion"][side]
        if counts is not None and len(classes) <= MOST_CLASSES:
            rows = [
                (
                    name,
                    [
                        (count, _shade(count, sum(row)), "right" if of == at else "wrong")
                        for of, count in enumerate(row)
                    ],
                )
                for at, (name, row) in enumerate(zip(classes, counts, strict=True))
            ]
            found.append({"version": compared[side], "classes": classes, "rows": rows})
    return found


def _shade(count: int, total: int) -> int:
    return 0 if count == 0 else max(1, round(SHADES * count / total))
