"""What is served, and why."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from learnloop.database import Dataset, Decision, Deployment, session
from learnloop.datasets.versions import get_dataset
from learnloop_airflow.api.paging import Cursor, Limit, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes import DecisionItem, DeploymentItem, Page

routes = Routes()


@routes.add("GET", "/deployments", "deployment:read", response_model=Page[DeploymentItem])
def list_deployments(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    with session() as db:
        return page(db, select(Deployment), Deployment.id, limit, cursor, _deployment)


@routes.add("GET", "/models/{name}/decisions", "model:read", response_model=Page[DecisionItem])
def list_decisions(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """What the gate and structure optimisation decided about a dataset's models, with their reasons."""
    with session() as db:
        dataset: Dataset = get_dataset(db, name)
        wanted = select(Decision).where(Decision.dataset_id == dataset.id)
        return page(db, wanted, Decision.id, limit, cursor, _decision)


def _decision(row: Decision) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "run_id": row.run_id,
        "accepted": row.accepted,
        "reason": row.reason,
        "comparison": row.comparison,
        "created_at": row.created_at,
    }


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
