"""Searches for a better structure: asked for, tried trial by trial, decided. Each step is one transaction.

A search is its rows: whoever asks for the next structure is told by them all that was tried, so a search that was
interrupted goes on, and trials may run at once, in any order, on any worker.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Dataset, StructureSearch, StructureTrial
from learnloop.datasets.schema import StructureConfig, loop_config
from learnloop.errors import Conflict, InvalidInput, NotFound
from learnloop.loop.structure_facts import known
from learnloop.training.structure.choice import Choice, choose
from learnloop.training.structure.needed import Rules, structure_needed
from learnloop.training.structure.space import Candidate, Space, described, first_candidates

SHORTEST_TRIAL = 60.0  # seconds


def ask(
    session: Session,
    dataset: Dataset,
    *,
    run_id: str,
    owner: str,
    by_hand: bool = False,
    trials: int | None = None,
    minutes: float | None = None,
) -> StructureSearch:
    """Ask whether the structure should be looked at, and keep the answer with its reason; once a ``run_id``.

    A run that is cleared asks anew while it has not decided: what was tried stays, and the time begins again.

    Args:
        by_hand: a person wants it, whatever the rules say.
        trials: at most so many, in place of the dataset's own budget; and
        minutes: in which trials may begin.

    Raises:
        InvalidInput: the budget cannot be; or a person wants it and no round has trained.
    """
    config = loop_config(dataset.loop).structure
    budget = _budget(config, trials, minutes)
    facts, number = known(session, dataset)
    rules = Rules(config.growth, config.plateau_rounds, config.plateau_gain, config.degradation)
    verdict = structure_needed(facts, rules)
    if by_hand and facts.labels == 0:
        raise InvalidInput(f"{dataset.name} has no model that a structure could be better than: train one first")
    row = insert(StructureSearch).values(
        dataset_id=dataset.id, run_id=run_id, owner=owner, state="not_needed", reason="", outcome=""
    )
    session.execute(row.on_conflict_do_nothing(index_elements=["run_id"]))
    search = session.scalars(select(StructureSearch).where(StructureSearch.run_id == run_id).with_for_update()).one()
    if search.dataset_id != dataset.id:
        raise Conflict(f"the run {run_id!r} has searched for another dataset: start another run")
    if search.state == "not_needed":
        search.reason = f"asked for by {owner}; the rules say: {verdict.reason}" if by_hand else verdict.reason
        search.facts = {**asdict(facts), "round": number}
        if by_hand or verdict.needed:
            search.state, search.space = "searching", asdict(_space(dataset, config, facts.labels))
    if search.state == "searching":
        # What there is to try stays as it was when it began: trials of one search must be comparable.
        search.trials = budget.trials
        search.deadline = func.now() + timedelta(minutes=budget.minutes)
    session.flush()
    session.refresh(search)
    return search


def begin_trial(session: Session, search_id: int, number: int) -> StructureTrial:
    """The trial of that number, now running: the one it was when it is begun again, else a structure nobody has tried.

    ``skipped`` instead, with the reason, when the search's time is up, or there is nothing left to try.
    """
    search = _locked(session, search_id)
    found = session.get(StructureTrial, (search_id, number))
    if found is not None and found.state != "skipped":
        if found.state == "failed":
            found.state, found.reason, found.ended_at = "running", "", None
        return found
    trial = found or StructureTrial(search_id=search_id, number=number, owner=search.owner)
    candidate, reason = _next(session, search, number)
    if candidate is None:
        trial.state, trial.reason, trial.ended_at = "skipped", reason, func.now()
    else:
        trial.state, trial.reason, trial.ended_at = "running", "", None
        trial.candidate, trial.described = candidate, described(candidate)[:300]
    session.add(trial)
    session.flush()
    return trial


def end_trial(session: Session, search_id: int, number: int, result: dict[str, Any], models_dir: str) -> None:
    """Keep what a trial found: what ``learnloop.training.trial`` wrote, and where its model is."""
    trial = _trial(session, search_id, number)
    trial.state, trial.reason, trial.ended_at = "done", "", func.now()
    trial.result, trial.models_dir = result, models_dir


def fail_trial(session: Session, search_id: int, number: int, reason: str) -> None:
    """Keep why a trial failed; the search goes on without it."""
    trial = _trial(session, search_id, number)
    trial.state, trial.reason, trial.ended_at = "failed", reason, func.now()


def trials_of(session: Session, search_id: int) -> list[StructureTrial]:
    """All trials that were begun or skipped, by number."""
    return list(
        session.scalars(
            select(StructureTrial).where(StructureTrial.search_id == search_id).order_by(StructureTrial.number)
        )
    )


def decide(session: Session, search_id: int) -> tuple[StructureSearch, Choice, list[StructureTrial]]:
    """Choose among the trials that are done, and keep the choice with a reason for each.

    Returns:
        The search, the choice, and the trials that it was made from; its indices are places in that list.

    Raises:
        Conflict: the current structure's own trial is not done, so that there is nothing to compare with.
    """
    search = _locked(session, search_id)
    trials = trials_of(session, search_id)
    done = [trial for trial in trials if trial.state == "done"]
    if not done or done[0].number != 0:
        why = next((f": {trial.reason}" for trial in trials if trial.number == 0 and trial.reason), "")
        raise Conflict(
            f"the trial of the current structure did not end well{why}; without it no other can be judged."
            " Clear it together with the tasks after it"
        )
    gate = loop_config(search.dataset.loop).gate
    choice = choose(
        [{**trial.result, "described": trial.described} for trial in done],
        max_latency_ms=gate.max_latency_ms,
        max_model_bytes=gate.max_model_bytes,
    )
    for index, trial in enumerate(done):
        trial.reason, trial.on_front = choice.reasons[index], index in choice.front
    for trial in trials:
        if trial.state == "running":
            trial.state, trial.reason = "failed", "it ended without a result: its worker or its pod was lost"
    search.state = "unchanged" if choice.index is None else "changed"
    search.outcome = choice.reason
    search.chosen = None if choice.index is None else done[choice.index].number
    search.decided_at = func.now()
    session.flush()
    return search, choice, done


def keep_version(session: Session, search_id: int, number: int, version: int) -> None:
    """Note as which model version a trial that was not chosen is kept."""
    _trial(session, search_id, number).model_version = version


def seconds_left(session: Session, search: StructureSearch) -> float:
    """How long a trial that begins now may take: until the search's time is up, and at least a minute."""
    if search.deadline is None:
        return SHORTEST_TRIAL
    return max((search.deadline - _now(session)).total_seconds(), SHORTEST_TRIAL)


def space_of(search: StructureSearch) -> Space:
    return Space(**search.space)


def _budget(config: StructureConfig, trials: int | None, minutes: float | None) -> StructureConfig:
    given = {name: value for name, value in (("trials", trials), ("minutes", minutes)) if value is not None}
    most_trials, most_minutes = 500, 7 * 24 * 60
    if trials is not None and not 2 <= trials <= most_trials:
        raise InvalidInput(
            f"a search of {trials} trials cannot be: 2 (one beside the current structure) to {most_trials}"
        )
    if minutes is not None and not 0 < minutes <= most_minutes:
        raise InvalidInput(f"a search of {minutes:g} minutes cannot be: more than 0, at most {most_minutes}")
    return config.model_copy(update=given)


def _space(dataset: Dataset, config: StructureConfig, labels: int) -> Space:
    return Space(
        current=loop_config(dataset.loop).trainer.model_dump(),
        families=list(config.families),
        classes=len(dataset.loop["classes"]),
        labels=labels,
    )


def _next(session: Session, search: StructureSearch, number: int) -> tuple[Candidate | None, str]:
    """What to try as ``number``; or None, and why."""
    space = space_of(search)
    first = next(islice(first_candidates(space), number, None), None)
    if number and search.deadline is not None and _now(session) > search.deadline:
        return None, f"the search's time was up at {search.deadline:%H:%M:%S} UTC: nothing more is tried"
    if first is not None:
        return first, ""
    from learnloop.training.structure.sampler import Told, propose

    told = [
        Told(
            trial.candidate,
            trial.state,
            (trial.result["accuracy"], trial.result["latency_ms"], trial.result["model_bytes"])
            if trial.state == "done"
            else None,
        )
        for trial in trials_of(session, search.id)
        if trial.state != "skipped"
    ]
    candidate = propose(space, told, seed=number)
    return candidate, "" if candidate is not None else "there is nothing left to try that fits the data"


def _locked(session: Session, search_id: int) -> StructureSearch:
    """The search, locked: structures are asked for one after the other, so no two trials get the same."""
    found = session.get(StructureSearch, search_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound(f"there is no structure search {search_id}")
    return found


def _trial(session: Session, search_id: int, number: int) -> StructureTrial:
    found = session.get(StructureTrial, (search_id, number), with_for_update=True)
    if found is None:
        raise NotFound(f"structure search {search_id} has no trial {number}")
    return found


def _now(session: Session) -> datetime:
    """By the database's clock: workers may run on several machines."""
    return session.execute(select(func.now())).scalar_one()
