"""The confirmed pool: append-only. What is confirmed later about the same sample supersedes, and overwrites nothing."""

from __future__ import annotations

from sqlalchemy import bindparam, exists, select, text
from sqlalchemy.orm import Session, aliased

from learnloop.database import ConfirmedAnnotation

# Made once: making it took a twentieth of an answer's time.
_newer = aliased(ConfirmedAnnotation)
_IN_FORCE = (
    select(ConfirmedAnnotation)
    .where(
        ConfirmedAnnotation.dataset_id == bindparam("dataset"),
        ConfirmedAnnotation.sample_id == bindparam("sample"),
        ~exists().where(_newer.supersedes_id == ConfirmedAnnotation.id),
    )
    .order_by(ConfirmedAnnotation.id.desc())
    .limit(1)
)


def in_force(session: Session, dataset_id: int, sample_id: str) -> ConfirmedAnnotation | None:
    """The sample's label as it is now: the row that no other supersedes."""
    return session.scalars(_IN_FORCE, {"dataset": dataset_id, "sample": sample_id}).first()


PUT = """
    INSERT INTO confirmed_annotations (dataset_id, number, batch_id, annotation_id, sample_id, label, confirmed_by,
                                       supersedes_id, owner)
    SELECT :dataset, coalesce((SELECT max(number) FROM confirmed_annotations WHERE dataset_id = :dataset), 0) + 1,
           :batch, {annotation}, :sample, CAST(:label AS varchar), :rule, before.id, :annotator
    FROM {row} LEFT JOIN LATERAL (
        SELECT id, label FROM confirmed_annotations AS old WHERE dataset_id = :dataset AND sample_id = :sample
        AND NOT EXISTS (SELECT 1 FROM confirmed_annotations AS newer WHERE newer.supersedes_id = old.id)
        ORDER BY id DESC LIMIT 1) AS before ON true
    WHERE before.label IS DISTINCT FROM CAST(:label AS varchar)
    RETURNING id, supersedes_id
"""
"""The number after the highest, and what the row supersedes. No row when the sample has that label already.

``annotation``: the answer's id, told by ``row``.
"""
_PUT = text(PUT.format(annotation=":annotation", row="(SELECT 1) AS row"))


def put(
    session: Session,
    *,
    dataset_id: int,
    batch_id: int | None,
    sample_id: str,
    annotation_id: int,
    label: str | None,
    rule: str,
    owner: str,
) -> bool:
    """Add an answer's label; False when the sample has that label already, so that there is nothing new to train on.

    The caller holds the dataset's lock (``loop.rounds.lock``).
    """
    if batch_id is None or label is None:
        raise ValueError(f"annotation {annotation_id} cannot enter the pool")  # gold and skips never come here
    row = {
        "dataset": dataset_id,
        "batch": batch_id,
        "annotation": annotation_id,
        "sample": sample_id,
        "label": label,
        "rule": rule,
        "annotator": owner,
    }
    return session.execute(_PUT, row).first() is not None
