"""What a training policy judges by, asked of the database; only what the dataset's rules look at."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Integer, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from learnloop.database import Annotation, Decision, Round
from learnloop.training.policy import PolicyFacts, Rules

DECIDED = ("gate", "structure")
# Written out, so that PostgreSQL sees that it has an index of that.
_VERSION: ColumnElement[int] = literal_column("(decisions.comparison ->> 'model_version')::integer", Integer)


class Looped(Protocol):
    """What is asked of a dataset here: its row, or what was read of it. ``loop``: as ``Dataset.loop``."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def loop(self) -> dict[str, Any]: ...


def rules_of(dataset: Looped) -> Rules:
    """The dataset's own rules, with defaults for what it does not say."""
    return Rules(**dataset.loop.get("policy", {}))


def facts_of(session: Session, dataset: Looped, *, waiting: int, open_round: int | None) -> PolicyFacts:
    """Reads only. What no rule looks at is not asked for: this runs with every confirmed label."""
    rules = rules_of(dataset)
    known: dict[str, Any] = {}
    if open_round is None and waiting:
        if rules.interval_hours is not None:
            known["hours_since_training"] = _hours_since_training(session, dataset)
        if rules.drift is not None:
            known |= _drift(session, dataset)
        if rules.performance_drop is not None:
            known |= performance(session, dataset)
        if rules.quality is not None:
            known |= _gold(session, dataset)
    return PolicyFacts(waiting=waiting, open_round=open_round, **known)


def _hours_since_training(session: Session, dataset: Looped) -> float | None:
    ended: datetime | None = session.scalar(
        select(func.max(Round.finished_at)).where(
            Round.dataset_id == dataset.id, Round.state.in_(("accepted", "rejected"))
        )
    )
    if ended is None:
        return None
    now: datetime = session.scalar(select(func.now()))  # type: ignore[assignment]
    return (now - ended).total_seconds() / 3600


def _drift(session: Session, dataset: Looped) -> dict[str, Any]:
    """The shift that stands out most against chance, of scored batches and of live requests."""
    from learnloop.loop.drift import current_drift
    from learnloop.loop.live import live_drift

    scored = current_drift(session, dataset)
    found = [("what the model predicts", *scored)] if scored is not None else []
    found += live_drift(session, dataset)
    if not found:
        return {}
    of, value, by_chance = max(found, key=lambda shift: shift[1] - shift[2])
    return {"psi": value, "psi_by_chance": by_chance, "psi_of": of}


def performance(session: Session, dataset: Looped) -> dict[str, Any]:
    """How good the current model was when it was accepted, and is on new random samples; nothing when that is not known."""
    from learnloop.annotation.honest import accuracy_by_model
    from learnloop.models.deployment import served_version

    version = served_version(session, dataset.name, "current")
    now = None if version is None else next(iter(accuracy_by_model(session, dataset, [version])), None)
    at_gate = None if now is None or version is None else accuracy_at_gate(session, dataset, version)
    if now is None or at_gate is None:
        return {}
    return {"accuracy_at_gate": at_gate, "accuracy_now": now.accuracy, "accuracy_now_at_most": now.high}


def accuracy_at_gate(session: Session, dataset: Looped, version: int) -> float | None:
    """Of a model version on the test split when it was decided about; None when nobody measured it."""
    return accuracies_at_gate(session, [(dataset.id, version)]).get((dataset.id, version))


def accuracies_at_gate(session: Session, models: Collection[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """The same of several, by the ids of their datasets and their versions, in one statement."""
    accuracy = Decision.comparison["candidate"]["accuracy"].as_float()
    newest = (
        select(Decision.dataset_id, _VERSION, accuracy)
        .ext(distinct_on(Decision.dataset_id, _VERSION))
        .where(tuple_(Decision.dataset_id, _VERSION).in_(models), Decision.kind.in_(DECIDED))
        .order_by(Decision.dataset_id, _VERSION, Decision.id.desc())
    )
    return {(of, version): float(found) for of, version, found in session.execute(newest) if found is not None}


def _gold(session: Session, dataset: Looped) -> dict[str, Any]:
    opened = select(func.max(Round.created_at)).where(Round.dataset_id == dataset.id).scalar_subquery()
    right, answers = session.execute(
        select(func.count().filter(Annotation.outcome == "gold_right"), func.count()).where(
            Annotation.dataset_id == dataset.id,
            Annotation.outcome.in_(("gold_right", "gold_wrong")),
            opened.is_(None) | (Annotation.created_at > opened),
        )
    ).one()
    return {"gold_right": right, "gold_answers": answers}
