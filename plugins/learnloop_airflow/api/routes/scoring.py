"""What was scored, what of it was chosen, and how good the models were on what was drawn at random."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from learnloop.annotation.honest import accuracy_by_model
from learnloop.database import Batch, ScoringRun, session
from learnloop.datasets.versions import get_dataset
from learnloop_airflow.api.paging import Cursor, Limit, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes import Accuracies, Page, ScoringRunItem

routes = Routes()


@routes.add("GET", "/datasets/{name}/scoring-runs", "batch:read", response_model=Page[ScoringRunItem])
def list_scoring_runs(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Each pass of a model over a batch: how many samples, and by which strategy how many were chosen. Newest first."""
    with session() as db:
        dataset = get_dataset(db, name)
        named = select(Batch.id, Batch.name).where(Batch.dataset_id == dataset.id)
        batches = {found.id: found.name for found in db.execute(named)}

        def item(row: ScoringRun) -> dict[str, Any]:
            return {
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

        wanted = select(ScoringRun).where(ScoringRun.dataset_id == dataset.id)
        return page(db, wanted, ScoringRun.id, limit, cursor, item)


@routes.add("GET", "/models/{name}/accuracy", "model:read", response_model=Accuracies)
def show_accuracy(name: str) -> dict[str, Any]:
    """How often each version was right about the samples drawn at random for it, with a 95 % interval; newest first."""
    with session() as db:
        return {"items": [vars(found) for found in accuracy_by_model(db, get_dataset(db, name))]}
