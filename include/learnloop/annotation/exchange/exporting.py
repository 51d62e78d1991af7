"""Confirmed labels out of the pool, with their provenance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from learnloop.annotation.answers import classes_of
from learnloop.annotation.exchange import label_studio, tables
from learnloop.database import Annotation, AnnotationTask, Batch, ConfirmedAnnotation, Dataset
from learnloop.datasets.store import Store

Format = Literal["label-studio", "label-studio-config", "csv", "parquet"]
AT_ONCE = 2000


def export(
    session: Session, store: Store, dataset: Dataset, form: Format, out: IO[bytes], *, superseded: bool = False
) -> None:
    """Write the dataset's confirmed labels to ``out``, in bounded memory; all as they were at one moment.

    Args:
        form: ``label-studio-config`` writes the labelling configuration that ``label-studio`` goes with, and no labels.
        superseded: also labels that a later one replaced.

    Raises:
        InvalidInput: the dataset has no classes.
        NotFound: for ``label-studio``, a text or row that stands in the file is not in the store, such as in a cold tier.
    """
    classes = classes_of(dataset)
    found = records(session, dataset, superseded=superseded)
    if form == "parquet":
        tables.write_parquet(found, classes, out)
        return
    if form == "label-studio-config":
        out.write(label_studio.label_config(classes, dataset.task_type).encode())
        return
    if form == "label-studio":
        texts = label_studio.write(found, dataset.task_type, store.read)
    else:
        texts = tables.write_csv(found, classes)
    for text in texts:
        out.write(text.encode())


def records(session: Session, dataset: Dataset, *, superseded: bool = False) -> Iterator[dict[str, Any]]:
    """Confirmed labels by sample, the oldest first: the sample (``sample_id``,
    ``path``, ``object``, its md5, ``batch``), the
    answer (``label``, ``annotator``, ``annotated_at``, ``seconds``, ``comment``), why it counts (``confirmed_by``, the rule;
    ``confirmed_at``; ``supersedes`` and ``superseded_by``, ids of confirmed labels), and the ``prediction`` that was shown.
    """
    newer = aliased(ConfirmedAnnotation)
    wanted = (
        select(ConfirmedAnnotation, Annotation, AnnotationTask, Batch.name, newer.id)
        .join(Annotation, Annotation.id == ConfirmedAnnotation.annotation_id)
        .join(AnnotationTask, AnnotationTask.id == Annotation.task_id)
        .join(Batch, Batch.id == ConfirmedAnnotation.batch_id)
        .outerjoin(newer, newer.supersedes_id == ConfirmedAnnotation.id)
        .where(ConfirmedAnnotation.dataset_id == dataset.id)
        .order_by(ConfirmedAnnotation.sample_id, ConfirmedAnnotation.id)
        .execution_options(yield_per=AT_ONCE)
    )
    if not superseded:
        wanted = wanted.where(newer.id.is_(None))
    for confirmed, answer, task, batch, superseded_by in session.execute(wanted):
        yield {
            "sample_id": confirmed.sample_id,
            "path": task.path,
            "object": task.object,
            "batch": batch,
            "label": confirmed.label,
            "annotator": confirmed.owner,
            "annotated_at": _time(answer.created_at),
            "seconds": answer.seconds,
            "comment": answer.comment,
            "confirmed_id": confirmed.id,
            "confirmed_at": _time(confirmed.confirmed_at),
            "confirmed_by": confirmed.confirmed_by,
            "supersedes": confirmed.supersedes_id,
            "superseded_by": superseded_by,
            "annotation_id": answer.id,
            "task_id": task.id,
            "prediction": task.prediction,
        }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
