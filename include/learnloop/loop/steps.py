"""Where a dataset is in the seven steps of the loop, and what waits for a person. Pure: facts in, sentences out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from learnloop.loop.progress import MOST_OPEN, Progress

BASE, SCORE, CHOOSE, ANSWER, CHECK, RETRAIN, STRUCTURE = range(1, 8)
NAMES = {
    BASE: "Base model",
    SCORE: "Score new data",
    CHOOSE: "Choose samples",
    ANSWER: "People answer",
    CHECK: "Check and count",
    RETRAIN: "Retrain and serve",
    STRUCTURE: "Structure",
}
TRAIN_DAG, SCORE_DAG, ROUND_DAG, STRUCTURE_DAG = (
    "base_model_training",
    "score_incoming_data",
    "incremental_training",
    "structure_optimization",
)


@dataclass(frozen=True)
class RoundFacts:
    """A round; ``accuracy`` is its model's on the test split, None before it was measured."""

    number: int
    state: str
    run_id: str
    is_base: bool
    labels: int | None
    accuracy: float | None

    @property
    def under_way(self) -> bool:
        return self.state in ("requested", "running")

    @property
    def dag_id(self) -> str:
        return TRAIN_DAG if self.is_base else ROUND_DAG


@dataclass(frozen=True)
class ScoringFacts:
    """The newest pass of a model over a batch."""

    run_id: str
    batch: str
    scored: int
    chosen: int
    strategy: str


@dataclass(frozen=True)
class SearchFacts:
    """The newest time that the structure was looked at."""

    run_id: str
    state: str
    said: str


@dataclass(frozen=True)
class LoopFacts:
    """What a standing is judged by.

    Attributes:
        serving: the version that answers as ``current``; None: none does.
        newest: the newest round.
        trained: the newest round that trained a model and has ended.
        open_merges: numbers of the merge requests that wait for an answer.
    """

    progress: Progress
    serving: int | None = None
    newest: RoundFacts | None = None
    trained: RoundFacts | None = None
    scoring: ScoringFacts | None = None
    search: SearchFacts | None = None
    open_merges: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """One of the seven. ``run_id`` is the DAG run that is or was at it, if one is."""

    number: int
    name: str
    state: Literal["now", "done", "ahead"]
    said: str
    dag_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Need:
    """Something that waits for a person. ``kind`` says where it is done: ``answer`` and ``review`` on the annotation page,
    ``merge`` in the conflict view of merge ``merge``, ``start`` by triggering ``dag_id``, ``run`` on that run's page.
    """

    kind: Literal["answer", "review", "merge", "start", "run"]
    said: str
    dag_id: str | None = None
    run_id: str | None = None
    merge: int | None = None


@dataclass(frozen=True)
class Standing:
    """``now`` is the number of the step that the dataset is at. ``progress`` says what starts the next round."""

    now: int
    steps: tuple[Step, ...]
    needs: tuple[Need, ...]
    progress: Progress


def judge(facts: LoopFacts) -> Standing:
    """Where the loop is. Steps overlap (people answer while a round trains): the one that holds up the others is it."""
    now = _now(facts)
    made = (
        _base(facts),
        _score(facts),
        _choose(facts),
        _answer(facts),
        _check(facts),
        _retrain(facts),
        _structure(facts),
    )
    steps = []
    for number, (happened, said, dag_id, run_id) in enumerate(made, start=1):
        state: Literal["now", "done", "ahead"] = "now" if number == now else "done" if happened else "ahead"
        steps.append(Step(number, NAMES[number], state, said, dag_id, run_id))
    return Standing(now, tuple(steps), tuple(_needs(facts, now)), facts.progress)


def _now(facts: LoopFacts) -> int:
    progress, newest = facts.progress, facts.newest
    if newest is not None and newest.under_way and newest.is_base:
        return BASE
    if newest is not None and newest.under_way:
        return RETRAIN
    if facts.search is not None and facts.search.state == "searching":
        return STRUCTURE
    if progress.open_tasks:
        return ANSWER
    if progress.pending or progress.in_review:
        return CHECK
    return BASE if facts.serving is None else SCORE


_Made = tuple[bool, str, str | None, str | None]
"""Whether a step has happened, what is to be said of it, and its DAG run."""


def _base(facts: LoopFacts) -> _Made:
    newest = facts.newest
    if newest is not None and newest.is_base and newest.under_way:
        return False, "The base model is being trained.", TRAIN_DAG, newest.run_id
    if facts.serving is None:
        return False, "No model serves yet.", None, None
    return True, f"Version {facts.serving} answers as current.", None, None


def _score(facts: LoopFacts) -> _Made:
    last = facts.scoring
    if last is None:
        return False, "No new data was scored yet.", None, None
    return True, f"Batch {last.batch}: {last.scored:,} samples scored.", SCORE_DAG, last.run_id


def _choose(facts: LoopFacts) -> _Made:
    last = facts.scoring
    if last is None:
        return False, "Nothing was chosen yet.", None, None
    return True, f"{last.chosen:,} chosen by {last.strategy}.", None, None


def _answer(facts: LoopFacts) -> _Made:
    progress = facts.progress
    if progress.open_tasks:
        return True, f"{_open(progress)} without an answer.", None, None
    return progress.confirmed > 0, "No question is open.", None, None


def _check(facts: LoopFacts) -> _Made:
    progress = facts.progress
    waits = f"{progress.waiting} of {progress.needed} labels: {progress.reason}."
    if progress.pending:
        waits += f" {_count(progress.pending, 'answer waits', 'answers wait')} for a check."
    if progress.in_review:
        waits += f" {_count(progress.in_review, 'sample waits', 'samples wait')} for a reviewer."
    return progress.confirmed > 0, waits, None, None


def _retrain(facts: LoopFacts) -> _Made:
    newest, trained = facts.newest, facts.trained
    if newest is not None and newest.under_way and not newest.is_base:
        said = "waits for its run" if newest.state == "requested" else "is being trained"
        return (
            False,
            f"Round {newest.number} {said}.",
            newest.dag_id,
            newest.run_id if newest.state == "running" else None,
        )
    if newest is not None and newest.state == "failed" and not newest.is_base:
        return False, f"Round {newest.number} failed; its labels went back to the pool.", newest.dag_id, newest.run_id
    if trained is None or trained.is_base:
        return False, "No round has retrained yet.", None, None
    measured = "" if trained.accuracy is None else f" with {trained.accuracy:.1%} on the test split"
    return True, f"Round {trained.number} was {trained.state}{measured}.", trained.dag_id, trained.run_id


def _structure(facts: LoopFacts) -> _Made:
    search = facts.search
    if search is None:
        return False, "Not looked at yet.", None, None
    if search.state == "searching":
        return False, f"Structures are being tried: {search.said}.", STRUCTURE_DAG, search.run_id
    found = {"not_needed": "No reason to change it", "unchanged": "Looked at, and kept", "changed": "Changed"}
    said = f"{found[search.state]}: {search.said}." if search.said else f"{found[search.state]}."
    return True, said, STRUCTURE_DAG, search.run_id


def _needs(facts: LoopFacts, now: int) -> list[Need]:
    progress, newest = facts.progress, facts.newest
    found = []
    if newest is not None and newest.state == "failed":
        said = f"Round {newest.number} failed: its run says where."
        found.append(Need("run", said, newest.dag_id, newest.run_id))
    if facts.serving is None and not (newest is not None and newest.under_way):
        found.append(Need("start", "No model serves: train the base model.", TRAIN_DAG))
    for merge in facts.open_merges:
        found.append(Need("merge", f"Merge {merge} waits for answers to its conflicts.", merge=merge))
    if progress.in_review:
        found.append(Need("review", f"{_count(progress.in_review, 'sample waits', 'samples wait')} for a reviewer."))
    if progress.open_tasks:
        found.append(Need("answer", f"{_open(progress)} to be answered."))
    if now in (CHECK, SCORE):
        found.append(Need("start", "No question is open: score new data.", SCORE_DAG))
    return found


def _open(progress: Progress) -> str:
    if progress.open_tasks >= MOST_OPEN:
        return f"{MOST_OPEN:,} questions or more are"
    return _count(progress.open_tasks, "question is", "questions are")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
