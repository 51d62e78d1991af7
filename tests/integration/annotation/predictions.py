"""Parquet shards for tests of choosing, as ``predict_shard`` writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.annotation.selection import choose_tasks
from learnloop.database import Batch, Dataset, ScoringRun

CLASSES = ["cat", "dog", "eel"]


def rows(count: int, seed: int = 0, committee: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    made = []
    for n in range(count):
        row = {
            "sample_id": f"n{n}",
            "path": f"{n}.png",
            "object": f"{n:032x}",
            "probabilities": random.dirichlet(np.ones(3)).astype(np.float32).tolist(),
            "features": random.normal(size=4).astype(np.float32).tolist(),
        }
        if committee:
            row["committee"] = random.dirichlet(np.ones(3), committee).astype(np.float32).ravel().tolist()
        made.append(row)
    return made


def write(folder: Path, given: list[dict[str, Any]], shard: int = 11) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(given), shard):
        table = pa.Table.from_pylist(given[start : start + shard])
        pq.write_table(table, folder / f"batch-{start:09d}.parquet")


def chooser(db: Session, dataset: Dataset, folder: Path, samples: int) -> Callable[..., ScoringRun]:
    """Chooses among the predictions in ``folder``."""
    batch = db.scalars(select(Batch)).one()
    batch.samples = samples
    db.commit()

    def choose(run_id: str = "r1", **changes: object) -> ScoringRun:
        given: dict[str, Any] = {
            "dataset": dataset,
            "batch": batch,
            "run_id": run_id,
            "model_name": "pets",
            "model_version": 7,
            "predictions": folder,
            "classes": CLASSES,
            "strategy": "margin_sampling",
            "budget": 5,
            "seed": 1,
            "owner": "ada",
        }
        return choose_tasks(db, **(given | changes))

    return choose
