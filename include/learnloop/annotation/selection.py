"""From predictions to annotation tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.annotation import strategies
from learnloop.annotation.shards import Shards, matrix
from learnloop.database import Annotation, AnnotationTask, Batch, ConfirmedAnnotation, Dataset, GoldQuestion, ScoringRun
from learnloop.errors import InvalidInput
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

    Of a batch of ``n`` samples, ids and probabilities are in memory (``n x k`` float32), and no more: paths, objects and
    features are read for those that may be chosen.

    Args:
        predictions: a folder of ``batch-*.parquet`` with the columns ``sample_id``, ``path``, ``object``,
            ``probabilities`` and ``features``.

    Raises:
        NotFound: there are no predictions.
        InvalidInput: predictions that are no Parquet, name a sample twice, or do not fit the classes.
    """
    lock(session, dataset)
    done = session.scalars(select(ScoringRun).where(ScoringRun.run_id == run_id)).one_or_none()
    if done is not None:
        return done
    shards = Shards(predictions, classes) if batch.samples else Shards.none(classes)
    _offer_gold(session, dataset, gold, classes, model_version, owner)
    _cancel_untaken(session, dataset)
    free = shards.not_among(_asked(session, dataset))
    picked = _pick(shards, free, strategy, budget, np.random.default_rng(seed))
    confidence = strategies.confidence(shards.probabilities)
    run = ScoringRun(
        dataset_id=dataset.id,
        batch_id=batch.id,
        run_id=run_id,
        model_name=model_name,
        model_version=model_version,
        predictions=str(predictions),
        strategy=strategy,
        scored=len(shards),
        chosen=len(picked),
        summary={
            "mean_confidence": float(confidence.mean()) if len(shards) else None,
            "already_asked": len(shards) - len(free),
        },
        owner=owner,
    )
    session.add(run)
    session.flush()
    samples = shards.rows(picked, ["sample_id", "path", "object"]).to_pylist()
    for rank, (sample, row) in enumerate(zip(samples, shards.probabilities[picked], strict=True)):
        session.add(
            AnnotationTask(
                dataset_id=dataset.id,
                batch_id=batch.id,
                scoring_run_id=run.id,
                **sample,
                prediction=prediction(row, classes, model_version),
                reason={
                    "strategy": strategy,
                    "rank": rank,
                    "margin": float(strategies.margin(row[None])[0]),
                    "model_version": model_version,
                },
                owner=owner,
            )
        )
    session.flush()
    return run


def _pick(
    shards: Shards, free: strategies.Indices, strategy: str, budget: int, random: np.random.Generator
) -> strategies.Indices:
    """Rows of the shards that ``strategy`` chooses among ``free`` ones, the most wanted first."""
    features = None
    if strategy in strategies.NEED_FEATURES and len(free):
        if not np.isfinite(shards.probabilities).all():
            raise InvalidInput(f"{shards.folder}: probabilities must be finite numbers")
        free = free[strategies.candidates(shards.probabilities[free], budget, random)]
        features = matrix(shards.rows(free, ["features"])["features"], None, f"{shards.folder}: features")
    return free[strategies.choose(strategy, shards.probabilities[free], features, budget, random)]


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
        if len(candidate.probabilities) != len(classes):
            raise InvalidInput(
                f"gold sample {candidate.sample_id!r} has {len(candidate.probabilities)} probabilities"
                f" for {len(classes)} classes"
            )
        values = {
            "path": candidate.path,
            "object": candidate.object,
            "label": candidate.label,
            "prediction": prediction(np.asarray(candidate.probabilities), classes, model_version),
        }
        row = insert(GoldQuestion).values(dataset_id=dataset.id, sample_id=candidate.sample_id, owner=owner, **values)
        session.execute(row.on_conflict_do_update(index_elements=["dataset_id", "sample_id"], set_=values))
