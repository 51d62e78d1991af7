"""What was scored, what of it was chosen, and how good the models were on what was drawn at random."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from learnloop.annotation.honest import accuracy_by_model
from learnloop.database import Batch, ScoringRun, session
from learnloop.datasets.versions import get_dataset
from learnloop_airflow.api.paging import Cursor, Limit, Page, page
from learnloop_airflow.api.routing import Routes

routes = Routes()


@routes.add("GET", "/datasets/{name}/scoring-runs", "batch:read")
def list_scoring_runs(name: str, limit: Limit = 50, cursor: Cursor = None) -> Page:
    """Each pass of a model over a batch: how many samples, and by which strategy how many were chosen. Newest first."""
    with session() as db:
        wanted = select(ScoringRun).where(ScoringRun.dataset_id == get_dataset(db, name).id)
        rows, following = page(db, wanted, ScoringRun.id, limit, cursor)
        wanted_batches = select(Batch.id, Batch.name).where(Batch.id.in_({row.batch_id for row in rows}))
        batches = {found.id: found.name for found in db.execute(wanted_batches)}
        items = [
            {
                "run_id": row.run_id,
                "batch": batches[row.batch_id],
                "model_version": row.model_version,
                "strategy": row.strategy,
                "scored": row.scored,
                "chosen": row.chosen,
                "summary": row.summary,
                "owner": row.owner,
                "created_at": row.created_at,
            }
            for row in rows
        ]
        return Page(items=items, next=following)


@routes.add("GET", "/models/{name}/accuracy", "model:read")
def show_accuracy(name: str) -> dict[str, Any]:
    """How often each version was right about the samples drawn at random for it, with a 95 % interval; newest first."""
    with session() as db:
        return {"items": [vars(found) for found in accuracy_by_model(db, get_dataset(db, name))]}
