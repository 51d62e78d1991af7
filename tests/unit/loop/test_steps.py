"""Where a loop is, and what waits for a person, from its facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from learnloop.loop.progress import MOST_OPEN, Progress
from learnloop.loop.steps import (
    ANSWER,
    BASE,
    CHECK,
    RETRAIN,
    SCORE,
    STRUCTURE,
    LoopFacts,
    RoundFacts,
    ScoringFacts,
    SearchFacts,
    Standing,
    judge,
)

COUNTS = Progress(
    confirmed=0,
    waiting=0,
    needed=40,
    reason="40 more labels needed",
    open_tasks=0,
    pending=0,
    answered_by_me=0,
    round=None,
    in_review=0,
)
BASE_ROUND = RoundFacts(0, "accepted", "by-hand", True, 60, 0.8)
ROUND = RoundFacts(1, "accepted", "round-pets-1", False, 100, 0.9)
POOL = ScoringFacts("scored-1", "pool", 1377, 40, "diverse_mini_batch")
BEGUN = LoopFacts(COUNTS, serving=1, newest=BASE_ROUND, trained=BASE_ROUND, scoring=POOL)


def counts(**changes: int) -> LoopFacts:
    return replace(BEGUN, progress=replace(COUNTS, **changes))


@pytest.mark.parametrize(
    ("facts", "now", "said", "needs"),
    [
        (LoopFacts(COUNTS), BASE, "No model serves yet.", ["No model serves: train the base model."]),
        (
            LoopFacts(COUNTS, newest=replace(BASE_ROUND, state="running")),
            BASE,
            "The base model is being trained.",
            [],
        ),
        (
            LoopFacts(COUNTS, newest=replace(BASE_ROUND, state="failed")),
            BASE,
            "No model serves yet.",
            ["Round 0 failed: its run says where.", "No model serves: train the base model."],
        ),
        (BEGUN, SCORE, "Batch pool: 1,377 samples scored.", ["No question is open: score new data."]),
        (counts(open_tasks=1), ANSWER, "1 question is without an answer.", ["1 question is to be answered."]),
        (
            counts(open_tasks=MOST_OPEN),
            ANSWER,
            "10,000 questions or more are without an answer.",
            ["10,000 questions or more are to be answered."],
        ),
        (
            counts(confirmed=23, waiting=23, pending=2),
            CHECK,
            "23 of 40 labels: 40 more labels needed. 2 answers wait for a check.",
            ["No question is open: score new data."],
        ),
        (
            counts(confirmed=23, waiting=23, in_review=1),
            CHECK,
            "23 of 40 labels: 40 more labels needed. 1 sample waits for a reviewer.",
            ["1 sample waits for a reviewer.", "No question is open: score new data."],
        ),
        (
            replace(counts(open_tasks=3), newest=replace(ROUND, state="requested")),
            RETRAIN,
            "Round 1 waits for its run.",
            ["3 questions are to be answered."],
        ),
        (
            replace(BEGUN, newest=replace(ROUND, state="running")),
            RETRAIN,
            "Round 1 is being trained.",
            [],
        ),
        (
            replace(counts(open_tasks=3), search=SearchFacts("s-1", "searching", "the data has doubled")),
            STRUCTURE,
            "Structures are being tried: the data has doubled.",
            ["3 questions are to be answered."],
        ),
        (
            replace(counts(open_tasks=3), open_merges=(4,)),
            ANSWER,
            "3 questions are without an answer.",
            ["Merge 4 waits for answers to its conflicts.", "3 questions are to be answered."],
        ),
    ],
)
def test_where_a_loop_is(facts: LoopFacts, now: int, said: str, needs: list[str]) -> None:
    found = judge(facts)
    assert (found.now, found.steps[now - 1].said) == (now, said)
    assert [step.number for step in found.steps if step.state == "now"] == [now]
    assert [need.said for need in found.needs] == needs


def retrained(**changes: object) -> Standing:
    return judge(replace(BEGUN, newest=replace(ROUND, **changes), trained=ROUND))


def test_a_round_that_ended_says_how_and_leads_to_its_run() -> None:
    step = retrained().steps[RETRAIN - 1]
    assert step.said == "Round 1 was accepted with 90.0% on the test split."
    assert (step.state, step.dag_id, step.run_id) == ("done", "incremental_training", "round-pets-1")


def test_a_failed_round_is_shown_though_an_older_one_trained() -> None:
    found = retrained(number=2, state="failed", run_id="round-pets-2")
    step = found.steps[RETRAIN - 1]
    assert step.said == "Round 2 failed; its labels went back to the pool."
    assert (step.state, step.run_id) == ("ahead", "round-pets-2")
    assert (found.needs[0].kind, found.needs[0].run_id) == ("run", "round-pets-2")


def test_a_base_model_trained_anew_is_at_the_first_step() -> None:
    found = judge(replace(BEGUN, newest=RoundFacts(3, "running", "again", True, None, None)))
    assert (found.now, found.steps[0].run_id) == (BASE, "again")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("not_needed", "No reason to change it: too little grew."),
        ("unchanged", "Looked at, and kept: too little grew."),
        ("changed", "Changed: too little grew."),
    ],
)
def test_what_the_last_look_at_the_structure_found(state: str, said: str) -> None:
    step = judge(replace(BEGUN, search=SearchFacts("s-1", state, "too little grew"))).steps[STRUCTURE - 1]
    assert (step.said, step.dag_id) == (said, "structure_optimization")
