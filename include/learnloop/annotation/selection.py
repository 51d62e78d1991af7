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
from learnloop.annotation.choosing import RANDOM, pick
from learnloop.annotation.honest import accuracy_by_model
from learnloop.annotation.shards import Shards
from learnloop.database import (
    LIVE,
    Annotation,
    AnnotationTask,
    Batch,
    ConfirmedAnnotation,
    Dataset,
    GoldQuestion,
    ScoringRun,
)
from learnloop.errors import InvalidInput
from learnloop.loop.rounds import lock

IMPORTED = "imported"
"""The strategy of tasks that a person brought in (`annotation.exchange`)."""


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
    random_share: float = 0.0,
    committee: Sequence[int] = (),
    known: strategies.Floats | None = None,
    gold: Sequence[GoldCandidate] = (),
) -> ScoringRun:
    """Make tasks of ``budget`` samples, chosen among the predicted ones; once a ``run_id``.

    ``random_share`` of them are any, for an honest evaluation of the model (``learnloop.annotation.honest``), and
    ``strategy`` chooses the rest; a task's ``reason`` says which. Samples that have a task which somebody works on, or a
    confirmed label, are left out. Tasks of earlier scoring runs that nobody has taken are cancelled: an older model chose
    them. Not those of live samples, nor for a batch of such: they stay until they are answered. That nothing is left to
    ask is no error.

    Of a batch only ids and scores are in memory (:class:`Shards`): the rest is read for those that may be chosen.

    Args:
        predictions: a folder of ``batch-*.parquet`` with the columns ``sample_id``, ``path``, ``object``,
            ``probabilities`` and ``features``, and perhaps ``committee``.
        committee: the model versions that the column ``committee`` is of, for the record.
        known: features ``[l, d]`` of samples that have a label, for strategies that keep away from them.

    Raises:
        NotFound: there are no predictions.
        InvalidInput: predictions that are no Parquet, name a sample twice, or do not fit the classes.
    """
    if (done := _done(session, run_id)) is not None:
        return done
    chance = np.random.default_rng(seed)
    method = strategies.find(strategy)
    # Read before the lock is taken: annotators' answers need it too, and a million predictions take a while.
    shards = Shards(predictions, classes, method, chance) if batch.samples else Shards.none()
    lock(session, dataset)
    if (done := _done(session, run_id)) is not None:
        return done
    _offer_gold(session, dataset, gold, classes, model_version, owner)
    if batch.provenance.get("kind") != LIVE:  # live samples come in every few minutes: they join the queue
        _cancel_untaken(session, dataset)
    free = shards.not_among(_asked(session, dataset))
    picked = pick(shards, free, method, budget, random_share, chance, known)
    summary: dict[str, Any] = {
        "mean_confidence": shards.mean_confidence,
        "already_asked": len(shards) - len(free),
        "random": sum(name == RANDOM for name, _ in picked),
        "accuracy_on_random": [vars(found) for found in accuracy_by_model(session, dataset)],
    }
    if method.needs_committee:
        summary["committee"] = list(committee) or [model_version]
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
        summary=summary,
        owner=owner,
    )
    session.add(run)
    session.flush()
    rows = np.asarray([row for _, row in picked], dtype=np.intp)
    samples = shards.rows(rows, ["sample_id", "path", "object", "probabilities"]).to_pylist()
    for rank, ((name, row), sample) in enumerate(zip(picked, samples, strict=True)):
        probabilities = np.asarray(sample.pop("probabilities"), dtype=np.float32)
        reason: dict[str, Any] = {
            "strategy": name,
            "rank": rank,
            "margin": float(strategies.margin(probabilities[None])[0]),
            "model_version": model_version,
        }
        if name != RANDOM:
            reason["score"] = float(np.ravel(shards.scores[row])[0])
        session.add(
            AnnotationTask(
                dataset_id=dataset.id,
                batch_id=batch.id,
                scoring_run_id=run.id,
                **sample,
                prediction=prediction(probabilities, classes, model_version),
                reason=reason,
                owner=owner,
            )
        )
    session.flush()
    return run


def _done(session: Session, run_id: str) -> ScoringRun | None:
    return session.scalars(select(ScoringRun).where(ScoringRun.run_id == run_id)).one_or_none()


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
    live = select(Batch.id).where(Batch.dataset_id == dataset.id, Batch.provenance["kind"].as_string() == LIVE)
    session.execute(
        update(AnnotationTask)
        .where(
            AnnotationTask.dataset_id == dataset.id,
            AnnotationTask.kind == "label",
            AnnotationTask.state == "open",
            # What somebody has answered or skipped goes on to others, and never back to that person as a new task.
            ~exists().where(Annotation.task_id == AnnotationTask.id),
            # What a person asked for by a file is not an older model's choice.
            AnnotationTask.reason["strategy"].as_string().is_distinct_from(IMPORTED),
            # What was asked live comes but once: no batch of files brings it again.
            AnnotationTask.batch_id.not_in(live),
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
