"""Rounds: opened once, run once, closed however they end.

Everything that opens or closes a round first locks the dataset's row, so that it happens one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.orm import Session

from learnloop.database import (
    ConfirmedAnnotation,
    Dataset,
    DatasetVersion,
    OutboxMessage,
    PolicyEvaluation,
    Round,
    RoundAnnotation,
    tell,
)
from learnloop.database.textual import by_position
from learnloop.errors import Conflict, InvalidInput, NotFound
from learnloop.loop.facts import Looped, facts_of, rules_of
from learnloop.loop.waiting import Standing, standing, unused, waiting
from learnloop.permissions import SERVICE
from learnloop.training import policy

OPEN = ("requested", "running")
BASE_MODEL = "base model"
"""Why a round of ``base_model_training`` was opened."""

_KEEP = by_position(
    "INSERT INTO policy_evaluations (dataset_id, due, reason, facts, owner)"
    " VALUES (:dataset, :due, :reason, CAST(:facts AS jsonb), :owner) RETURNING id",
    "id",
)


def evaluate_policy(session: Session, dataset: Dataset) -> PolicyEvaluation:
    """Ask the training policy, keep its answer, and open a round when it says so: all in this transaction."""
    lock(session, dataset)
    session.flush()
    return session.get_one(PolicyEvaluation, ask_policy(session, dataset, standing(session, dataset)))


def ask_policy(session: Session, dataset: Looped, now: Standing) -> int:
    """`evaluate_policy` for who holds the dataset's lock and knows what waits; the evaluation's id."""
    facts = facts_of(session, dataset, waiting=now.waiting, open_round=now.under_way)
    rules = rules_of(dataset)
    verdict = policy.evaluate(facts, rules)
    kept = {
        "dataset": dataset.id,
        "due": verdict.due,
        "reason": verdict.reason,
        "facts": json.dumps({"needed": rules.labels, **asdict(facts)}),
        "owner": SERVICE.name,
    }
    evaluation: int = session.execute(_KEEP, kept).scalar_one()
    if verdict.due:
        _open(session, session.get_one(Dataset, dataset.id), verdict.reason, SERVICE.name)
    return evaluation


def evaluate_waiting(session: Session) -> list[PolicyEvaluation]:
    """Ask the policies that look at more than labels, of datasets that have labels waiting and no round under way.

    With every confirmed label they are asked anyway; this is for what changes without one: time, and what was scored.
    """
    found = []
    for dataset in session.scalars(select(Dataset).order_by(Dataset.id)):
        rules = rules_of(dataset)
        others = (rules.interval_hours, rules.drift, rules.performance_drop)
        if all(rule is None for rule in others) or waiting(session, dataset) == 0:
            continue
        if not session.scalar(select(exists().where(Round.dataset_id == dataset.id, Round.state.in_(OPEN)))):
            found.append(evaluate_policy(session, dataset))
    return found


def request_round(session: Session, dataset: Dataset, *, by: str, reason: str) -> Round:
    """Open a round because a person wants it.

    Raises:
        Conflict: a round is under way.
        InvalidInput: there is nothing new to train on.
    """
    lock(session, dataset)
    under_way = session.scalars(select(Round).where(Round.dataset_id == dataset.id, Round.state.in_(OPEN))).first()
    if under_way is not None:
        raise Conflict(f"round {under_way.number} of {dataset.name} is {under_way.state}: wait until it has ended")
    if waiting(session, dataset) == 0:
        raise InvalidInput(
            f"{dataset.name} has no confirmed label that no round has used: there is nothing to train on"
        )
    return _open(session, dataset, reason or f"started by {by}", by)


def open_base_round(session: Session, version: DatasetVersion, *, run_id: str, owner: str) -> Round:
    """Open (and start) round 0, or a later one when the dataset has a base model already; once a ``run_id``.

    Raises:
        Conflict: another round is under way.
    """
    dataset = version.dataset
    lock(session, dataset)
    mine: Round | None = None
    for found in session.scalars(select(Round).where(Round.dataset_id == dataset.id)):
        if found.metrics.get("run_id") == run_id:
            mine = found
        elif found.state in OPEN:
            raise Conflict(f"round {found.number} of {dataset.name} is {found.state}: wait until it has ended")
    if mine is not None:
        mine.state = "running"
        return mine
    opened = Round(
        dataset_id=dataset.id,
        number=_next_number(session, dataset),
        state="running",
        reason=BASE_MODEL,
        base_version_id=version.id,
        version_id=version.id,
        started_at=func.now(),
        metrics={"run_id": run_id},
        owner=owner,
    )
    session.add(opened)
    session.flush()
    return opened


def start_by_hand(session: Session, dataset: Dataset, *, run_id: str, by: str) -> Round:
    """The round of a run that a person triggered in Airflow: opened with what is confirmed so far, and running.

    Once a ``run_id``: a retried or cleared run goes on with its round.

    Raises:
        Conflict: another round is under way, or this run's has ended.
        InvalidInput: there is nothing new to train on.
    """
    lock(session, dataset)
    mine = select(Round.id).where(Round.dataset_id == dataset.id, Round.metrics["run_id"].as_string() == run_id)
    if session.scalar(mine) is None:
        opened = request_round(session, dataset, by=by, reason=f"started by {by} in Airflow")
        # In one transaction with its opening, so no dispatcher ever sees it waiting for a run of its own.
        opened.metrics = {"run_id": run_id}
        session.flush()
    return start_round(session, run_id)


def start_round(session: Session, run_id: str) -> Round:
    """The round of an incremental run, now running; also when it ran before (a retried or cleared run goes on).

    Raises:
        NotFound: no round has this run id.
        Conflict: the round has ended.
    """
    started = find(session, run_id)
    lock(session, started.dataset)
    session.refresh(started)
    if started.state not in OPEN:
        raise Conflict(
            f"round {started.number} of {started.dataset.name} is {started.state}: its labels went back to the pool"
            if started.state == "failed"
            else f"round {started.number} of {started.dataset.name} is {started.state} and stays so"
        )
    if started.state == "requested":
        started.state, started.started_at = "running", func.now()
        started.base_version_id = started.dataset.head_id
    session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.key == started.run_id, OutboxMessage.delivered_at.is_(None))
        .values(delivered_at=func.now())
    )
    session.flush()
    session.refresh(started)
    return started


def close_round(session: Session, run_id: str) -> str:
    """End the run's round by what the gate said, or as failed when it was not asked or nothing could serve the model.

    The labels of a failed round go back to the pool; the next confirmed label asks the policy about them again. Labels
    that came during a round that ended well are asked about now.
    """
    ended = find(session, run_id)
    lock(session, ended.dataset)
    session.refresh(ended)
    if ended.state not in OPEN:
        return ended.state
    accepted = ended.metrics.get("accepted")
    if accepted is None or (accepted and ended.served_at is None):
        ended.state = "failed"
        session.execute(delete(RoundAnnotation).where(RoundAnnotation.round_id == ended.id))
    else:
        ended.state = "accepted" if accepted else "rejected"
    ended.finished_at = func.now()
    session.flush()
    if ended.state != "failed":
        evaluate_policy(session, ended.dataset)
    return ended.state


def consumed(session: Session, of: Round) -> Sequence[ConfirmedAnnotation]:
    """The confirmed annotations that a round consumed, oldest first."""
    return session.scalars(
        select(ConfirmedAnnotation)
        .join(RoundAnnotation, RoundAnnotation.confirmed_id == ConfirmedAnnotation.id)
        .where(RoundAnnotation.round_id == of.id)
        .order_by(ConfirmedAnnotation.id)
    ).all()


def due_rounds(session: Session) -> Sequence[Round]:
    """Rounds that wait for their run. What was told of them does not matter, so no lost message does."""
    return session.scalars(select(Round).where(Round.state == "requested").order_by(Round.id)).all()


def find(session: Session, run_id: str) -> Round:
    """The round of a DAG run, by the run's id."""
    dataset, _, number = run_id.removeprefix("round-").rpartition("-")
    wanted = select(Round).join(Round.dataset)
    if run_id.startswith("round-") and number.isdecimal() and len(number) < 10:
        wanted = wanted.where(Dataset.name == dataset, Round.number == int(number))
    else:
        wanted = wanted.where(Round.metrics["run_id"].as_string() == run_id)
    found = session.scalars(wanted).one_or_none()
    if found is None:
        raise NotFound(f"no round belongs to the run {run_id!r}: rounds are started by the training policy or the API")
    return found


def lock(session: Session, dataset: Dataset) -> None:
    """Take the dataset's row (`lock_by_id`)."""
    lock_by_id(session, dataset.id)


def lock_by_id(session: Session, dataset_id: int) -> Dataset:
    """Take the dataset's row until the transaction ends: whoever opens or closes rounds takes turns here.

    NO KEY UPDATE, for rows that refer to the dataset are written meanwhile (a claim makes a gold task): their foreign key
    would wait for a plain FOR UPDATE, and with the task's row held that is a deadlock.
    """
    return session.get_one(Dataset, dataset_id, with_for_update={"key_share": True}, populate_existing=True)


def _open(session: Session, dataset: Dataset, reason: str, owner: str) -> Round:
    opened = Round(dataset_id=dataset.id, number=_next_number(session, dataset), reason=reason, owner=owner, metrics={})
    opened.dataset = dataset
    session.add(opened)
    session.flush()
    taken = [{"confirmed_id": confirmed, "round_id": opened.id} for confirmed in unused(session, dataset)]
    session.execute(insert(RoundAnnotation), taken)
    message = OutboxMessage(
        topic="round.requested",
        key=opened.run_id,
        payload={"dataset": dataset.name, "number": opened.number, "labels": len(taken)},
        owner=owner,
    )
    tell(session, message)
    return opened


def _next_number(session: Session, dataset: Dataset) -> int:
    highest = session.scalar(select(func.max(Round.number)).where(Round.dataset_id == dataset.id))
    return 0 if highest is None else highest + 1
