"""Decisions about models, kept with their reasons, and the facts they are made from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Decision, Round
from learnloop.errors import NotFound
from learnloop.training.structure import StructureFacts


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


def mark_served(session: Session, round_id: int, served_at: datetime) -> None:
    """Note when every live server had the round's model."""
    session.get_one(Round, round_id, with_for_update=True).served_at = served_at


def adopt_structure(session: Session, dataset_name: str, trainer: dict[str, Any]) -> None:
    """Make ``trainer`` (its name and parameters) what the dataset's next rounds train with."""
    dataset = session.scalars(select(Dataset).where(Dataset.name == dataset_name).with_for_update()).one()
    kept = {name: value for name, value in trainer.items() if name in ("name", "hidden")}
    dataset.loop = {**dataset.loop, "trainer": {**dataset.loop.get("trainer", {}), **kept}}


def learning_curve(session: Session, dataset: Dataset) -> list[tuple[int, int, float]]:
    """Round, training labels and test accuracy of each round that trained, oldest first."""
    rounds = session.scalars(
        select(Round).where(Round.dataset_id == dataset.id, Round.labels.is_not(None)).order_by(Round.number)
    )
    return [
        (done.number, done.labels, float(done.metrics["comparison"]["candidate"]["accuracy"]))
        for done in rounds
        if done.labels is not None and done.metrics.get("comparison")
    ]


def structure_facts(session: Session, dataset: Dataset) -> StructureFacts:
    """What `learnloop.training.structure` judges by.

    The structure counts as looked at by the last structure decision that tried candidates, else by round 0.
    """
    rounds = session.scalars(
        select(Round)
        .where(Round.dataset_id == dataset.id, Round.state.in_(("accepted", "rejected", "running")))
        .order_by(Round.number)
    ).all()
    trained = [done for done in rounds if done.labels is not None]
    looked = session.scalars(
        select(Decision)
        .where(
            Decision.dataset_id == dataset.id,
            Decision.kind == "structure",
            Decision.comparison["trials"].as_string().is_not(None) | Decision.accepted,
        )
        .order_by(Decision.id.desc())
        .limit(1)
    ).first()
    labels = [done.labels for done in trained if done.labels is not None]
    since = looked.created_at if looked else None
    before = [done.labels for done in trained if done.labels is not None and since and done.created_at <= since]
    return StructureFacts(
        labels=labels[-1] if labels else 0,
        labels_when_chosen=before[-1] if before else (labels[0] if labels else 0),
        accuracies=[
            float(done.metrics["comparison"]["candidate"]["accuracy"])
            for done in trained
            if "comparison" in done.metrics
        ],
    )
