"""Gold tasks: samples whose label is known, handed out among the others and made to look like them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import Annotation, AnnotationTask, GoldQuestion
from learnloop.datasets.schema import QualityConfig

NEWEST = 200
"""Among how many tasks a gold task looks for its like."""


def is_due(newest: Sequence[str], quality: QualityConfig, *, unanswered: int = 0) -> bool:
    """Whether a person's newest ``gold_every`` answers are all to ordinary tasks.

    Args:
        newest: what became of so many of their answers at least, the newest first.
        unanswered: so many ordinary tasks that they hold count as answered.
    """
    if quality.check == "none":
        return False
    every = quality.gold_every - unanswered
    return len(newest) >= every and not {"gold_right", "gold_wrong"} & set(newest[:every])


def claim_gold(session: Session, dataset_id: int, annotator: str, expires: datetime) -> AnnotationTask | None:
    """The gold task that this person gave back unanswered, else one made of the gold question that they have met least
    recently; None when the dataset has none.
    """
    given_back = session.scalars(
        select(AnnotationTask)
        .where(
            AnnotationTask.dataset_id == dataset_id,
            AnnotationTask.owner == annotator,
            AnnotationTask.kind == "gold",
            AnnotationTask.state == "open",
        )
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    if given_back is not None:
        given_back.state, given_back.claimed_by, given_back.lease_expires_at = "claimed", annotator, expires
        session.flush()
        return given_back
    met = (
        select(AnnotationTask.sample_id, func.max(Annotation.id).label("last"))
        .join(Annotation, Annotation.task_id == AnnotationTask.id)
        .where(AnnotationTask.kind == "gold", AnnotationTask.dataset_id == dataset_id, Annotation.owner == annotator)
        .group_by(AnnotationTask.sample_id)
        .subquery()
    )
    question = session.scalars(
        select(GoldQuestion)
        .outerjoin(met, met.c.sample_id == GoldQuestion.sample_id)
        .where(GoldQuestion.dataset_id == dataset_id)
        .order_by(met.c.last.asc().nulls_first(), func.md5(GoldQuestion.sample_id + annotator))
        .limit(1)
    ).first()
    if question is None:
        return None
    task = AnnotationTask(
        dataset_id=dataset_id,
        kind="gold",
        sample_id=question.sample_id,
        path=question.path,
        object=question.object,
        prediction=question.prediction,
        reason=_disguise(session, question),
        gold_label=question.label,
        state="claimed",
        claimed_by=annotator,
        lease_expires_at=expires,
        owner=annotator,
    )
    session.add(task)
    session.flush()
    return task


def _disguise(session: Session, question: GoldQuestion) -> dict[str, object]:
    """The reason of that one among the newest ordinary tasks that the model was as unsure of as of this gold question.

    So a strategy is named that would have chosen such a sample: what the model is sure of was drawn at random.
    """
    margin = 1 - float(question.prediction["uncertainty"])
    newest = session.scalars(
        select(AnnotationTask.reason)
        .where(AnnotationTask.dataset_id == question.dataset_id, AnnotationTask.kind == "label")
        .order_by(AnnotationTask.id.desc())
        .limit(NEWEST)
    ).all()
    found = min(newest, key=lambda reason: abs(float(reason.get("margin", math.inf)) - margin), default={})
    return {**found, "margin": margin} if "margin" in found else dict(found)
