"""The view Datasets: the graph of a dataset's versions, what changed between two, who holds it, what is to be merged."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from learnloop.errors import LearnloopError
from learnloop.permissions import Principal
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.paging import Cursor
from learnloop_airflow.api.routes.datasets import list_datasets, list_versions, show_dataset
from learnloop_airflow.api.routes.locks import show_locks
from learnloop_airflow.api.routes.merges import show_merges
from learnloop_airflow.api.routes.versions import show_diff
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.views.fields import Name
from learnloop_airflow.views.graph import graph
from learnloop_airflow.views.pages import page

routes = Routes()

LISTED = 50
MERGES = 20
DIFFERENCES = 20
"""So many files and records of each kind are listed; counts are complete."""


@routes.add("GET", "/datasets", "dataset:read", response_class=HTMLResponse)
def datasets(
    request: Request,
    caller: Caller,
    dataset: Name = None,
    before: Name = None,
    after: Name = None,
    cursor: Cursor = None,
) -> HTMLResponse:
    """All datasets; or one, and what makes its version ``after`` out of ``before``."""
    if dataset is None:
        return page(request, "datasets.html", found=list_datasets(limit=LISTED, cursor=cursor), first=cursor is None)
    versions = list_versions(dataset, caller, limit=LISTED, cursor=cursor)
    if before is None and after is None:
        before, after = _newest_change(versions["items"])
    return page(
        request,
        "dataset.html",
        dataset=show_dataset(dataset),
        versions=versions,
        first=cursor is None,
        graph=graph(versions["items"]),
        before=before,
        after=after,
        changes=_changes(before, after, caller),
        leases=show_locks(dataset),
        merges=show_merges(dataset, state="all", limit=MERGES)["items"],
        user=caller.name,
    )


def _newest_change(versions: list[dict[str, Any]]) -> tuple[str | None, str | None]:
    """The newest version that continues another, and that other; None for both when there is none."""
    for version in versions:
        if version["parents"]:
            return version["parents"][0], version["name"]
    return None, None


def _changes(before: str | None, after: str | None, caller: Principal) -> dict[str, Any] | None:
    """What changed, or why that cannot be said (a version in the cold tier, say): the rest of the page stands."""
    if before is None or after is None:
        return None
    try:
        return show_diff(before, after, caller, limit=DIFFERENCES)
    except LearnloopError as error:
        return {"problem": str(error)}
