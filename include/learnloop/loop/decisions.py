"""Decisions about models, kept with their reasons, and the facts they are made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Float, bindparam, cast, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Decision, Round
from learnloop.datasets.schema import TrainerConfig
from learnloop.errors import NotFound


def record_decision(
    session: Session,
    *,
    dataset_name: str,
    kind: str,
    run_id: str,
    accepted: bool,
    reason: str,
    owner: str,
    comparison: dict[str, Any] | None = None,
    round_id: int | None = None,
    model_name: str | None = None,
    model_version: int | None = None,
    labels: int | None = None,
) -> None:
    """Store a decision; a retried run's second decision replaces its first. A round's row takes its figures.

    Args:
        kind: ``gate``, ``structure``, ``workspace`` or ``rollback``.
        comparison: what was compared; for a gate, what ``learnloop.training.evaluate`` wrote.
        labels: labelled training samples of the decided model.
    """
    dataset = session.scalars(select(Dataset).where(Dataset.name == dataset_name)).one_or_none()
    if dataset is None:
        raise NotFound(f"there is no dataset {dataset_name!r}")
    values = {
        "accepted": accepted,
        "reason": reason,
        "comparison": {**(comparison or {}), "model_version": model_version, "labels": labels},
    }
    row = insert(Decision).values(
        dataset_id=dataset.id, round_id=round_id, kind=kind, run_id=run_id, owner=owner, **values
    )
    session.execute(row.on_conflict_do_update(index_elements=["kind", "run_id"], set_=values))
    if round_id is not None:
        done = session.get_one(Round, round_id, with_for_update=True)
        done.model_name, done.model_version, done.labels = model_name, model_version, labels
        done.metrics = {**done.metrics, "comparison": comparison or {}, "gate": reason, "accepted": accepted}


def reject_round(session: Session, round_id: int, reason: str) -> None:
    """Have a round that the gate accepted be closed as rejected: its model did badly afterwards."""
    done = session.get_one(Round, round_id, with_for_update=True)
    done.metrics = {**done.metrics, "accepted": False, "gate": reason}


def mark_served(session: Session, round_id: int, served_at: datetime) -> None:
    """Note when every live server had the round's model."""
    session.get_one(Round, round_id, with_for_update=True).served_at = served_at


def adopt_structure(session: Session, dataset_name: str, trainer: dict[str, Any]) -> None:
    """Make ``trainer`` (``name``, ``hidden``, ``parameters``) what the dataset's next rounds train with.

    Parameters of the one before go with it: another family has no use for them.
    """
    dataset = session.scalars(select(Dataset).where(Dataset.name == dataset_name).with_for_update()).one()
    dataset.loop = {**dataset.loop, "trainer": TrainerConfig.model_validate(trainer).model_dump()}


@dataclass(frozen=True)
class CurvePoint:
    """A round that trained: ``labels`` it trained on, ``accuracy`` of its model on the test split."""

    number: int
    labels: int
    accuracy: float
    state: str


def learning_curve(session: Session, dataset: Dataset) -> list[CurvePoint]:
    """The rounds that trained and were measured, oldest first."""
    return [CurvePoint(*row) for row in session.execute(_CURVE, {"dataset": dataset.id})]


ACCURACY = cast(Round.metrics["comparison"]["candidate"]["accuracy"].as_string(), Float)
"""Of a round's model on the test split; null before it was measured."""
_CURVE = (
    select(Round.number, Round.labels, ACCURACY, Round.state)
    .where(Round.dataset_id == bindparam("dataset"), Round.labels.is_not(None), ACCURACY.is_not(None))
    .order_by(Round.number)
)
