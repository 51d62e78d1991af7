"""From predictions to annotation tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.annotation import strategies
from learnloop.database import Annotation, AnnotationTask, Batch, ConfirmedAnnotation, Dataset, GoldQuestion, ScoringRun
from learnloop.errors import InvalidInput, NotFound
from learnloop.loop.rounds import lock


@dataclass(frozen=True)
class GoldCandidate:
    """A sample whose label is known, with the model's prediction of it, so that its task looks like any other."""

    sample_id: str
    path: str
    object: str
    label: str
    probabilities: Sequence[float]
    features: Sequence[float]


def choose_tasks(
    session: Session,
    *,
    dataset: Dataset,
    batch: Batch,
    run_id: str,
    model_name: str,
    model_version: int,
    predictions: Path,
    classes: Sequence[str],
    strategy: str,
    budget: int,
    seed: int,
    owner: str,
    gold: Sequence[GoldCandidate] = (),
) -> ScoringRun:
    """Make tasks of the ``budget`` samples that ``strategy`` chooses among the predicted ones; once a ``run_id``.

    Samples that have a task which somebody works on, or a confirmed label, are left out. Tasks of earlier scoring runs
    that nobody has taken are cancelled: an older model chose them. That nothing is left to ask is no error.

    Args:
        predictions: a folder of ``batch-*.parquet`` with the columns ``sample_id, path, object, probabilities, features``.

    Raises:
        NotFound: there are no predictions.
        InvalidInput: predictions that do not fit the classes.
    """
    lock(session, dataset)
    done = session.scalars(select(ScoringRun).where(ScoringRun.run_id == run_id)).one_or_none()
    if done is not None:
        return done
    table = _read(predictions)
    probabilities = _matrix(table["probabilities"], len(classes), "probabilities")
    _cancel_untaken(session, dataset)
    asked = _asked(session, dataset)
    ids = table["sample_id"].to_pylist()
    free = np.asarray([index for index, sample in enumerate(ids) if sample not in asked], dtype=np.intp)
    features = _matrix(table["features"].take(pa.array(free)), None, "features") if len(free) else None
    picked = strategies.choose(strategy, probabilities[free], features, budget, np.random.default_rng(seed))
    confidence = strategies.confidence(probabilities) if len(ids) else np.zeros(0)
    run = ScoringRun(
        dataset_id=dataset.id,
        batch_id=batch.id,
        run_id=run_id,
        model_name=model_name,
        model_version=model_version,
        predictions=str(predictions),
        strategy=strategy,
        scored=len(ids),
        chosen=len(picked),
        summary={
            "mean_confidence": float(confidence.mean()) if len(ids) else None,
            "already_asked": len(ids) - len(free),
        },
        owner=owner,
    )
    session.add(run)
    session.flush()
    paths, objects = table["path"].to_pylist(), table["object"].to_pylist()
    for rank, index in enumerate(free[picked]):
        row = probabilities[index]
        session.add(
            AnnotationTask(
                dataset_id=dataset.id,
                batch_id=batch.id,
                scoring_run_id=run.id,
                sample_id=ids[index],
                path=paths[index],
                object=objects[index],
                prediction=prediction(row, classes, model_version),
                reason={"strategy": strategy, "rank": rank, "margin": float(strategies.margin(row[None])[0])},
                owner=owner,
            )
        )
    _offer_gold(session, dataset, gold, classes, model_version, owner)
    session.flush()
    return run


def prediction(row: Any, classes: Sequence[str], model_version: int) -> dict[str, Any]:
    """What a task shows of a prediction: label, confidence, uncertainty (1 - margin), all probabilities."""
    best = int(np.argmax(row))
    return {
        "label": classes[best],
        "confidence": float(row[best]),
        "uncertainty": float(1 - strategies.margin(np.asarray(row)[None])[0]),
        "probabilities": {name: float(value) for name, value in zip(classes, row, strict=True)},
        "model_version": model_version,
    }


def _read(folder: Path) -> pa.Table:
    files = sorted(folder.glob("batch-*.parquet"))
    if not files:
        raise NotFound(f"{folder} has no predictions (batch-*.parquet): has the batch been predicted?")
    return pa.concat_tables([pq.read_table(file) for file in files])


def _matrix(column: Any, width: int | None, what: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A list column as a matrix; every row must have the same length."""
    combined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    lengths = np.unique(np.diff(combined.offsets.to_numpy())) if len(combined) else np.asarray([width or 0])
    if len(lengths) != 1 or (width is not None and lengths[0] != width):
        wanted = f"{width} numbers each" if width is not None else "equally many numbers each"
        raise InvalidInput(f"{what}: rows must have {wanted}, found {sorted(map(int, lengths))}")
    flat = combined.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float64).reshape(len(combined), int(lengths[0]))


def _cancel_untaken(session: Session, dataset: Dataset) -> None:
    session.execute(
        update(AnnotationTask)
        .where(
            AnnotationTask.dataset_id == dataset.id,
            AnnotationTask.kind == "label",
            AnnotationTask.state == "open",
            # What somebody has answered or skipped goes on to others, and never back to that person as a new task.
            ~exists().where(Annotation.task_id == AnnotationTask.id),
        )
        .values(state="cancelled")
    )


def _asked(session: Session, dataset: Dataset) -> set[str]:
    live = select(AnnotationTask.sample_id).where(
        AnnotationTask.dataset_id == dataset.id, AnnotationTask.kind == "label", AnnotationTask.state != "cancelled"
    )
    confirmed = select(ConfirmedAnnotation.sample_id).where(ConfirmedAnnotation.dataset_id == dataset.id)
    return set(session.scalars(live)) | set(session.scalars(confirmed))


def _offer_gold(
    session: Session,
    dataset: Dataset,
    gold: Sequence[GoldCandidate],
    classes: Sequence[str],
    model_version: int,
    owner: str,
) -> None:
    for candidate in gold:
        if candidate.label not in classes:
            raise InvalidInput(f"gold sample {candidate.sample_id!r} has the unknown label {candidate.label!r}")
        values = {
            "path": candidate.path,
            "object": candidate.object,
            "label": candidate.label,
            "prediction": prediction(np.asarray(candidate.probabilities), classes, model_version),
        }
        row = insert(GoldQuestion).values(dataset_id=dataset.id, sample_id=candidate.sample_id, owner=owner, **values)
        session.execute(row.on_conflict_do_update(index_elements=["dataset_id", "sample_id"], set_=values))
