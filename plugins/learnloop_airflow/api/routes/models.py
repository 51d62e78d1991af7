"""What is served, and why."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from learnloop.database import Dataset, Decision, Deployment, session
from learnloop.datasets.versions import get_dataset
from learnloop_airflow.api.paging import Cursor, Limit, Page, page
from learnloop_airflow.api.routing import Routes

routes = Routes()


@routes.add("GET", "/deployments", "deployment:read")
def list_deployments(limit: Limit = 50, cursor: Cursor = None) -> Page:
    with session() as db:
        rows, following = page(db, select(Deployment), Deployment.id, limit, cursor)
        return Page(items=[_deployment(row) for row in rows], next=following)


@routes.add("GET", "/models/{name}/decisions", "model:read")
def list_decisions(name: str, limit: Limit = 50, cursor: Cursor = None) -> Page:
    """What the gate and structure optimisation decided about a dataset's models, with their reasons."""
    with session() as db:
        dataset: Dataset = get_dataset(db, name)
        wanted = select(Decision).where(Decision.dataset_id == dataset.id)
        rows, following = page(db, wanted, Decision.id, limit, cursor)
        items = [
            {
                "kind": row.kind,
                "run_id": row.run_id,
                "accepted": row.accepted,
                "reason": row.reason,
                "comparison": row.comparison,
                "created_at": row.created_at,
            }
            for row in rows
        ]
        return Page(items=items, next=following)


def _deployment(row: Deployment) -> dict[str, Any]:
    return {
        "model_name": row.model_name,
        "alias": row.alias,
        "model_version": row.model_version,
        "previous_version": row.previous_version,
        "generation": row.generation,
        "owner": row.owner,
        "updated_at": row.updated_at,
    }
