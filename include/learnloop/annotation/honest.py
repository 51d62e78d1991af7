"""How good a model is on new data, by the samples that were drawn at random for it.

What a query strategy chooses is what the model finds hard, so a model's accuracy on it says nothing. A random sample was
predicted by the model before anybody labelled it, and its label goes into training only later: first tested, then
trained on (the prequential estimate of Dawid 1984; Gama et al. 2013). So no label is kept from training, and the
estimate is unbiased: for the samples of the batch that had no label when the model scored them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Integer, func, literal_column, select, text
from sqlalchemy.orm import Session, aliased

from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation
from learnloop.loop.facts import Looped

# Written out, so that PostgreSQL sees that the index of just these tasks, by version, will do.
_RANDOM = text("annotation_tasks.reason ->> 'strategy' = 'random'")
_VERSION: ColumnElement[int] = literal_column("(annotation_tasks.reason ->> 'model_version')::integer", Integer)


@dataclass(frozen=True)
class HonestAccuracy:
    """Of one model version: ``labelled`` random samples have a confirmed label, ``right`` of them as it said.

    ``low`` and ``high`` are Wilson's 95 % interval around ``accuracy``.
    """

    model_version: int
    labelled: int
    right: int
    accuracy: float
    low: float
    high: float


def accuracy_by_model(
    session: Session, dataset: Looped, versions: Collection[int] | None = None
) -> list[HonestAccuracy]:
    """The accuracy of each model version with a labelled random sample, the newest version first. Reads only.

    A corrected label counts as corrected. Of a sample that was drawn for several models, each counts.

    Args:
        versions: of these alone, which is as much quicker as there are others.
    """
    newer = aliased(ConfirmedAnnotation)
    right = AnnotationTask.prediction["label"].as_string() == ConfirmedAnnotation.label
    rows = session.execute(
        select(_VERSION, func.count(), func.sum(func.cast(right, Integer)))
        .select_from(ConfirmedAnnotation)
        .join(Annotation, Annotation.id == ConfirmedAnnotation.annotation_id)
        .join(AnnotationTask, AnnotationTask.id == Annotation.task_id)
        .outerjoin(newer, newer.supersedes_id == ConfirmedAnnotation.id)
        .where(
            AnnotationTask.dataset_id == dataset.id,
            AnnotationTask.kind == "label",
            _RANDOM,
            _VERSION.is_not(None) if versions is None else _VERSION.in_(versions),
            newer.id.is_(None),
        )
        .group_by(_VERSION)
        .order_by(_VERSION.desc())
    )
    return [_estimate(model, labelled, right) for model, labelled, right in rows]


def wilson(right: int, of: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval (1927) of a share: 95 % by default. It holds also near 0 and 1, and for few samples."""
    share, over = right / of, z * z / of
    middle = (share + over / 2) / (1 + over)
    half = z / (1 + over) * (share * (1 - share) / of + over / (4 * of)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def _estimate(model: int, labelled: int, right: int) -> HonestAccuracy:
    low, high = wilson(right, labelled)
    return HonestAccuracy(model, labelled, right, right / labelled, low, high)
