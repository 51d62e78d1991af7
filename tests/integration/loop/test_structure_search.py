"""A search for a structure: asked for with a reason, tried trial by trial from its rows, decided once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Round, StructureSearch, StructureTrial
from learnloop.database.engine import session as new_session
from learnloop.errors import Conflict, InvalidInput, NotFound
from learnloop.loop.decisions import adopt_structure
from learnloop.loop.structure import (
    ask,
    begin_trial,
    decide,
    end_trial,
    fail_trial,
    seconds_left,
    space_of,
    trials_of,
)
from learnloop.training.structure.space import job_params, key


@pytest.fixture
def dataset(db: Session) -> Dataset:
    """Its base model was trained on 60 labels."""
    loop = {"classes": ["cat", "dog"], "structure": {"trials": 10, "minutes": 20}}
    made = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
    db.add(made)
    db.flush()
    trained(db, made, 0, 60, 0.8)
    return made


def trained(db: Session, dataset: Dataset, number: int, labels: int, accuracy: float, state: str = "accepted") -> None:
    metrics = {"comparison": {"candidate": {"accuracy": accuracy}}}
    db.add(
        Round(dataset_id=dataset.id, number=number, state=state, labels=labels, metrics=metrics, owner="ada", reason="")
    )
    db.commit()


def result(accuracy: float, size: int = 10_000) -> dict[str, Any]:
    spread = [0.01, -0.01] * 5
    return {
        "accuracies": [accuracy + part for part in spread],
        "accuracy": accuracy,
        "folds": 5,
        "latency_ms": 0.1,
        "model_bytes": size,
    }


def run_through(db: Session, search: StructureSearch, accuracies: dict[int, float], **sizes: int) -> None:
    for number in range(search.trials):
        if begin_trial(db, search.id, number).state == "running":
            end_trial(db, search.id, number, result(accuracies.get(number, 0.8), 10_000 + number), "/models/x")
    db.commit()


def test_each_answer_is_kept_with_its_reason(db: Session, dataset: Dataset) -> None:
    first = ask(db, dataset, run_id="structure-pets-0", owner="service:learnloop")
    assert first.state == "not_needed"
    assert "60 labelled samples, 90 would be a reason" in first.reason
    trained(db, dataset, 1, 95, 0.85)
    second = ask(db, dataset, run_id="structure-pets-1", owner="service:learnloop")
    assert second.state == "searching"
    assert "grown from 60 to 95" in second.reason
    assert second.facts["accuracies"] == [0.8, 0.85]
    assert (second.trials, space_of(second).labels, space_of(second).hidden) == (10, 95, [32])
    assert first.trials == 0
    assert db.query(StructureSearch).count() == 2


def test_by_hand_it_is_searched_whatever_the_rules_say(db: Session, dataset: Dataset) -> None:
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True, trials=3, minutes=0.5)
    assert search.state == "searching"
    assert search.reason.startswith("asked for by ada; the rules say: 60 labelled samples")
    assert search.trials == 3
    assert 20 < (search.deadline - db.scalar(func.now())).total_seconds() <= 30
    assert seconds_left(db, search) == 60  # a trial that has begun may take a minute


def test_a_budget_that_cannot_be_and_a_dataset_without_a_model_are_refused(db: Session, dataset: Dataset) -> None:
    with pytest.raises(InvalidInput, match="a search of 1 trials cannot be"):
        ask(db, dataset, run_id="x", owner="ada", trials=1)
    with pytest.raises(InvalidInput, match="a search of -1 minutes cannot be"):
        ask(db, dataset, run_id="x", owner="ada", minutes=-1)
    bare = Dataset(name="bare", task_type="image_classification", loop={"classes": ["cat", "dog"]}, owner="ada")
    db.add(bare)
    db.flush()
    assert ask(db, bare, run_id="y", owner="service:learnloop").reason == "no round has trained yet"
    with pytest.raises(InvalidInput, match="bare has no model"):
        ask(db, bare, run_id="z", owner="ada", by_hand=True)
    with pytest.raises(Conflict, match="has searched for another dataset"):
        ask(db, dataset, run_id="y", owner="ada")


def test_a_look_counts_for_the_rounds_that_follow(db: Session, dataset: Dataset) -> None:
    """Whatever came of it: what gave the reason for one search is no reason for the next."""
    trained(db, dataset, 1, 95, 0.85)
    trained(db, dataset, 2, 96, 0.80)
    search = ask(db, dataset, run_id="structure-pets-2", owner="service:learnloop")
    run_through(db, search, {})
    decide(db, search.id)
    trained(db, dataset, 3, 97, 0.803)
    again = ask(db, dataset, run_id="structure-pets-3", owner="service:learnloop")
    assert again.state == "not_needed", again.reason
    assert again.facts["labels_when_chosen"] == 96
    assert again.facts["accuracies"] == [0.80, 0.803]
    for number in (4, 5):
        trained(db, dataset, number, 94 + number, 0.80)
    plateau = ask(db, dataset, run_id="structure-pets-5", owner="service:learnloop")
    assert plateau.state == "searching"
    assert "has not grown in the last 3 rounds (80.0% to 80.0%)" in plateau.reason


def test_a_search_goes_on_from_its_rows(db: Session, dataset: Dataset) -> None:
    """A trial that is begun again is what it was, also after it failed; the next ones know of all before."""
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True)
    asked = [begin_trial(db, search.id, number).candidate for number in range(10)]
    assert len({key(candidate) for candidate in asked}) == 10
    fail_trial(db, search.id, 4, "out of memory")
    end_trial(db, search.id, 0, result(0.8), "/models/0")
    db.commit()
    assert [begin_trial(db, search.id, number).candidate for number in range(10)] == asked
    states = [trial.state for trial in trials_of(db, search.id)]
    assert states == ["done", *["running"] * 9]
    # A cleared run asks again: it is the same search, with a new budget.
    again = ask(db, dataset, run_id="manual", owner="ada", by_hand=True, trials=11)
    assert (again.id, again.trials) == (search.id, 11)
    assert begin_trial(db, search.id, 10).state == "running"
    assert job_params(asked[0], space_of(again))["current"]["hidden"] == [32]


def test_trials_that_begin_at_once_try_different_structures(database_url: str, db: Session, dataset: Dataset) -> None:
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True, trials=12)
    db.commit()

    def begin(number: int) -> dict[str, Any]:
        with new_session(database_url) as own:
            return begin_trial(own, search.id, number).candidate

    with ThreadPoolExecutor(6) as pool:
        asked = list(pool.map(begin, range(12)))
    assert len({key(candidate) for candidate in asked}) == 12


def test_when_the_time_is_up_nothing_more_is_tried(db: Session, dataset: Dataset) -> None:
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True)
    search.deadline = db.scalar(func.now()) - timedelta(seconds=1)
    db.flush()
    assert begin_trial(db, search.id, 0).state == "running"  # without it nothing can be judged
    late = begin_trial(db, search.id, 1)
    assert late.state == "skipped"
    assert "time was up" in late.reason
    ask(db, dataset, run_id="manual", owner="ada", by_hand=True)
    assert begin_trial(db, search.id, 1).state == "running"


def test_a_decision_tells_of_every_trial_and_is_the_same_again(db: Session, dataset: Dataset) -> None:
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True, trials=6)
    for number in range(6):
        begin_trial(db, search.id, number)
    for number, accuracy in ((0, 0.8), (1, 0.9), (2, 0.7)):
        end_trial(db, search.id, number, result(accuracy, 10_000 + number), f"/models/{number}")
    fail_trial(db, search.id, 3, "out of memory")
    db.commit()
    decided, choice, trials = decide(db, search.id)
    assert (decided.state, decided.chosen, choice.index) == ("changed", 1, 1)
    assert "mlp 64 is better than mlp 32" in decided.outcome
    assert [trial.number for trial in trials] == [0, 1, 2]
    reasons = {trial.number: (trial.state, trial.on_front, trial.reason) for trial in trials_of(db, search.id)}
    assert reasons[0][:2] == ("done", True)
    assert reasons[2][:2] == ("done", False)
    assert reasons[3] == ("failed", None, "out of memory")
    assert reasons[4] == ("failed", None, "it ended without a result: its worker or its pod was lost")
    assert all(reason for _, _, reason in reasons.values())
    assert decide(db, search.id)[1] == choice


def test_without_the_current_structures_trial_nothing_is_judged(db: Session, dataset: Dataset) -> None:
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True, trials=2)
    for number in range(2):
        begin_trial(db, search.id, number)
    fail_trial(db, search.id, 0, "the disk is full")
    end_trial(db, search.id, 1, result(0.9), "/models/1")
    with pytest.raises(Conflict, match="did not end well: the disk is full; without it"):
        decide(db, search.id)
    assert search.state == "searching"


def test_the_gates_budgets_hold_for_the_choice(db: Session, dataset: Dataset) -> None:
    dataset.loop = {**dataset.loop, "gate": {"max_model_bytes": 10_000}}
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True, trials=2)
    run_through(db, search, {1: 0.95})
    decided, _, trials = decide(db, search.id)
    assert decided.state == "unchanged"
    assert trials[1].reason == "its file has 10,001 bytes, and the gate allows 10,000"


def test_what_is_adopted_is_what_the_next_rounds_train_with(db: Session, dataset: Dataset) -> None:
    dataset.loop = {**dataset.loop, "trainer": {"name": "mlp", "hidden": [32], "parameters": {"alpha": 0.1}}}
    db.commit()
    adopt_structure(db, "pets", {"name": "logistic", "hidden": [32], "parameters": {"C": 0.5}})
    assert dataset.loop["trainer"] == {"name": "logistic", "hidden": [32], "parameters": {"C": 0.5}}
    assert dataset.loop["structure"]["trials"] == 10
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True)
    assert begin_trial(db, search.id, 0).described == "logistic C=0.5"


def test_what_is_not_there(db: Session) -> None:
    with pytest.raises(NotFound, match="no structure search 7"):
        begin_trial(db, 7, 0)
    with pytest.raises(NotFound, match="search 7 has no trial 1"):
        end_trial(db, 7, 1, {}, "")
    assert db.query(StructureTrial).count() == 0
