"""The view Annotate: the annotation page, in Airflow's frame and in its colours."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from learnloop_airflow.api.routing import Routes
from learnloop_airflow.views.fields import Name
from learnloop_airflow.views.pages import page, query

routes = Routes()


@routes.add("GET", "/annotate", "round:read", response_class=HTMLResponse)
def annotate(request: Request, dataset: Name = None) -> HTMLResponse:
    """Leads on to the page, which is Streamlit's: only in the browser is known which colours Airflow has."""
    return page(request, "annotate.html", rest=query(embed="true", dataset=dataset))
