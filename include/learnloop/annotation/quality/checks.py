"""One look at all answers of a dataset: how each annotator confuses classes, and which confirmed labels are suspected.

It runs from time to time and beside the work: nothing waits for it, and what it finds goes to reviewers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from learnloop.annotation.quality.dawid_skene import Reliability, fit
from learnloop.annotation.quality.overlap import answers_of
from learnloop.annotation.quality.suspicion import suspects
from learnloop.annotation.reviews import open_review
from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, Dataset, QualityCheck, Review
from learnloop.datasets.schema import MOST_CONFUSED, loop_config
from learnloop.loop.rounds import lock
from learnloop.permissions import SERVICE

ENOUGH_NEW = 20
"""So many answers make another look worth while."""
MOST_LABELS = 50_000
"""The newest confirmed labels that are looked at."""

# A label that a reviewer decided helps to judge the others, and is not suspected again.
_IN_FORCE = text(
    """
    SELECT pool.id, pool.label, annotation.task_id, task.prediction -> 'probabilities' AS probabilities,
           annotation.review_id IS NOT NULL OR EXISTS (
               SELECT 1 FROM reviews WHERE reviews.task_id = task.id AND (kind = 'suspicion' OR decision IS NULL)) AS seen
    FROM confirmed_annotations AS pool
    JOIN annotations AS annotation ON annotation.id = pool.annotation_id
    JOIN annotation_tasks AS task ON task.id = annotation.task_id
    WHERE pool.dataset_id = :dataset
      AND NOT EXISTS (SELECT 1 FROM confirmed_annotations AS newer WHERE newer.supersedes_id = pool.id)
    ORDER BY pool.id DESC LIMIT :most
    """
)


def due(session: Session, dataset: Dataset) -> bool:
    """Whether so much was answered since the last look that another is worth while."""
    newest = select(QualityCheck.answers).where(QualityCheck.dataset_id == dataset.id)
    last = session.scalars(newest.order_by(QualityCheck.id.desc()).limit(1)).first()
    return _answers(session, dataset) >= (last or 0) + ENOUGH_NEW


def check(session: Session, dataset: Dataset, *, owner: str = SERVICE.name) -> QualityCheck:
    """Look at all answers, keep what was found, and send suspected labels to review if the policy says so.

    A sample is suspected once: what a reviewer has decided about it stands.
    """
    quality = loop_config(dataset.loop).quality
    answers = _answers(session, dataset)
    rows = session.execute(_IN_FORCE, {"dataset": dataset.id, "most": MOST_LABELS}).all()
    reliability = _reliability(session, dataset)
    found = _suspected(rows, dataset.loop.get("classes", ())) if quality.suspicion == "review" else []
    lock(session, dataset)
    opened = sum(_send_to_review(session, *suspect) for suspect in found)
    made = QualityCheck(
        dataset_id=dataset.id,
        answers=answers,
        confirmed=len(rows),
        suspected=opened,
        reliability=reliability,
        owner=owner,
    )
    session.add(made)
    session.flush()
    return made


def newest(session: Session, dataset: Dataset) -> QualityCheck | None:
    return session.scalars(
        select(QualityCheck).where(QualityCheck.dataset_id == dataset.id).order_by(QualityCheck.id.desc()).limit(1)
    ).first()


def _answers(session: Session, dataset: Dataset) -> int:
    counted = select(func.count()).select_from(Annotation).where(Annotation.dataset_id == dataset.id)
    return session.scalar(counted) or 0


def _reliability(session: Session, dataset: Dataset) -> dict[str, Any] | None:
    answers = answers_of(session, dataset)
    if len(answers) == 0 or answers.n_classes > MOST_CONFUSED:
        return None
    found = fit(answers.sample, answers.person, answers.label, answers.n_classes, known=answers.known)
    confusions = dict(zip(answers.people, found.confusions, strict=True))
    reliability = Reliability(tuple(dataset.loop["classes"]), found.priors, confusions)
    return {**reliability.stored(), "iterations": found.iterations, "answers": len(answers)}


def _suspected(rows: Any, classes: Any) -> list[tuple[Any, dict[str, Any]]]:
    """The rows whose labels are suspected and that no reviewer has seen, with the facts that speak against them."""
    number = {name: index for index, name in enumerate(classes)}
    rows = [row for row in rows if row.label in number and set(row.probabilities or ()) == set(number)]
    if not rows:
        return []
    probabilities = np.array([[row.probabilities[name] for name in classes] for row in rows])
    found = []
    for position in suspects([number[row.label] for row in rows], probabilities):
        row = rows[position]
        if not row.seen:
            likely = max(row.probabilities, key=row.probabilities.get)
            facts = {
                "label": row.label,
                "probability": row.probabilities[row.label],
                "model_label": likely,
                "model_probability": row.probabilities[likely],
            }
            found.append((row, facts))
    return found


def _send_to_review(session: Session, row: Any, facts: dict[str, Any]) -> bool:
    """False when somebody corrected the label, or had it reviewed, while we were looking."""
    superseded = select(ConfirmedAnnotation.id).where(ConfirmedAnnotation.supersedes_id == row.id)
    seen = select(Review.id).where(Review.task_id == row.task_id, Review.kind == "suspicion")
    if session.scalars(superseded).first() is not None or session.scalars(seen).first() is not None:
        return False
    task = session.get_one(AnnotationTask, row.task_id, with_for_update=True, populate_existing=True)
    return open_review(session, task, "suspicion", _suspicion(facts), facts=facts)


def _suspicion(facts: dict[str, Any]) -> str:
    return (
        f"confirmed as {facts['label']}, to which the model gave {facts['probability']:.2f},"
        f" and {facts['model_probability']:.2f} to {facts['model_label']}"
    )
