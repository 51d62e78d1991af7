"""What was scored, what of it was chosen, and how good the models were on what was drawn at random."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select

from learnloop.annotation.honest import accuracy_by_model
from learnloop.database import Batch, ScoringRun, reading
from learnloop.datasets.versions import dataset_id, get_dataset
from learnloop_airflow.api.paging import Cursor, Limit, newest_first, page
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.rounds import Accuracies, ScoringRunItem

routes = Routes()


_RUNS = newest_first(
    select(
        ScoringRun.id,
        ScoringRun.run_id,
        Batch.name.label("batch"),
        ScoringRun.model_version,
        ScoringRun.strategy,
        ScoringRun.scored,
        ScoringRun.chosen,
        ScoringRun.summary,
        ScoringRun.owner,
        ScoringRun.created_at,
    )
    .join(Batch, Batch.id == ScoringRun.batch_id)
    .where(ScoringRun.dataset_id == bindparam("dataset")),
    ScoringRun.id,
)


@routes.add("GET", "/datasets/{name}/scoring-runs", "batch:read", response_model=Page[ScoringRunItem])
def list_scoring_runs(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Each pass of a model over a batch: how many samples, and by which strategy how many were chosen. Newest first."""
    with reading() as db:
        return page(db, _RUNS, limit, cursor, dataset=dataset_id(db, name))


@routes.add("GET", "/models/{name}/accuracy", "model:read", response_model=Accuracies)
def show_accuracy(name: str) -> dict[str, Any]:
    """How often each version was right about the samples drawn at random for it, with a 95 % interval; newest first."""
    with reading() as db:
        return {"items": [vars(found) for found in accuracy_by_model(db, get_dataset(db, name))]}
