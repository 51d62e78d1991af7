"""What became of a person's own answers, and why: what they may know of it.

That a task was gold must not be seen here. So it is told in lots, as their own figures are (``quality.people``): of the
answers before the gold one that ends the lot. A gold task that was answered rightly reads like any confirmed answer, and
one that was answered wrongly is not listed; nor is one confirmed answer in ``LEFT_OUT``, always the same ones for one
person, so that what is not listed need not be gold. What was rejected is listed whole.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, bindparam, case, func, or_, select, true
from sqlalchemy.orm import Session, aliased

from learnloop.annotation.quality.people import told_before
from learnloop.database import Annotation, AnnotationTask

LEFT_OUT = 5
_ALL = 2**31 - 1

_decision = aliased(Annotation)
_decided = (
    select(_decision.label, _decision.owner, _decision.comment, _decision.review_id)
    .where(_decision.task_id == Annotation.task_id, _decision.outcome == "confirmed")
    .order_by(_decision.review_id.is_(None), _decision.id.desc())
    .limit(1)
    .lateral("decided")
)
# Not the hash by which the queue leaves tasks out of its list: else what is in neither list, and what is in one, would tell.
_kept = (
    func.hashtextextended(func.concat("answer ", Annotation.task_id, " ", bindparam("annotator")), 0) % LEFT_OUT != 0
)

OWN: Select[Any] = (
    select(
        Annotation.id,
        AnnotationTask.sample_id,
        Annotation.label,
        Annotation.comment,
        case((Annotation.outcome == "gold_right", "confirmed"), else_=Annotation.outcome).label("outcome"),
        Annotation.outcome_reason.label("reason"),
        _decided.c.label.label("instead"),
        case((_decided.c.review_id.is_not(None), _decided.c.comment), else_="").label("decision_reason"),
        Annotation.created_at,
    )
    .join(AnnotationTask, AnnotationTask.id == Annotation.task_id)
    .outerjoin(_decided, true())
    .where(
        Annotation.dataset_id == bindparam("dataset"),
        Annotation.owner == bindparam("annotator"),
        Annotation.review_id.is_(None),
        Annotation.withdrawn_at.is_(None),
        Annotation.id < bindparam("told_before"),
        or_(
            Annotation.outcome == "rejected",
            and_(Annotation.outcome.in_(("confirmed", "gold_right")), or_(bindparam("whole"), _kept)),
        ),
    )
)
"""Their answers that were decided; its parameters are those of `parameters`."""


def parameters(session: Session, dataset_id: int, annotator: str) -> dict[str, Any]:
    """Whose answers, and up to where they are told."""
    before = told_before(session, dataset_id, annotator)
    return {
        "dataset": dataset_id,
        "annotator": annotator,
        "told_before": _ALL if before is None else before,
        "whole": before is None,
    }


def told(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `OWN` as its person sees it: why their answer was rejected, in a reviewer's words where one decided, and
    without the names of others who answered. Of a confirmed answer nothing more is told: how it was checked would tell.
    """
    decided, reason, instead = row.pop("decision_reason"), row["reason"], row["instead"]
    if row["outcome"] == "confirmed":
        return {**row, "reason": "", "instead": None}
    _, overruled, rule = reason.partition(f" says {instead} (")
    if overruled:
        reason = rule.removesuffix(")")
    if decided and decided not in reason:
        reason = f"{reason}: {decided}"
    return {**row, "reason": reason}
