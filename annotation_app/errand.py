"""What is done beside the page, so that nobody waits for it: answers are sent, and the next task is fetched in advance.

Pure of Streamlit and of the desk's state: an errand is given what it needs and brings back what came of it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from dataclasses import dataclass

from learnloop.client import LearnloopClient, Task
from learnloop.errors import LearnloopError, NotAuthenticated, NotFound, Unavailable


@dataclass(frozen=True)
class Answer:
    """What a person said of a task: a label, or why they skip it."""

    task_id: int
    sample_id: str
    label: str | None
    skip_reason: str
    seconds: float
    key: str
    """The Idempotency-Key: sent again with it, an answer whose receipt got lost is counted once."""
    comment: str = ""


@dataclass(frozen=True)
class Kept:
    """An answer that was not taken, with the API's error."""

    answer: Answer
    error: LearnloopError

    @property
    def problem(self) -> str:
        return str(self.error)

    @property
    def refused(self) -> bool:
        """The API answered and said no; it takes a person to decide whether to send it again."""
        return not isinstance(self.error, Unavailable | NotAuthenticated)


@dataclass(frozen=True)
class Loaded:
    """A task with its sample's bytes; without them, the error that says why."""

    task: Task
    content: bytes | None
    error: LearnloopError | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of an errand: of each answer its error or None, and the task that was fetched, or why not."""

    answers: tuple[tuple[Answer, LearnloopError | None], ...]
    ahead: Loaded | None
    error: LearnloopError | None


class Errand:
    """Starts at once, in a thread that the page's session does not end: an answer goes out also when the tab is closed.

    The answers are sent in their order. What follows one that did not get through is not tried.
    """

    def __init__(self, client: LearnloopClient, dataset: str, answers: Sequence[Answer], beside: int | None) -> None:
        """``beside``: the task in hand; the one to follow it is fetched. None: none is wanted."""
        self.answers = tuple(answers)
        self._outcome: Future[Outcome] = Future()
        threading.Thread(target=self._run, args=(client, dataset, beside), name="errand").start()

    def outcome(self, most: float | None = None) -> Outcome | None:
        """What came of it, once it is done; None when it is not done after ``most`` seconds."""
        try:
            return self._outcome.result(most)
        except NotDone:
            return None

    def _run(self, client: LearnloopClient, dataset: str, beside: int | None) -> None:
        try:
            self._outcome.set_result(run(client, dataset, self.answers, beside))
        except BaseException as error:  # noqa: BLE001 - who asks for the outcome gets it
            self._outcome.set_exception(error)


def run(client: LearnloopClient, dataset: str, answers: Sequence[Answer], beside: int | None) -> Outcome:
    said: list[tuple[Answer, LearnloopError | None]] = []
    for answer in answers:
        error = send(client, answer)
        said.append((answer, error))
        if isinstance(error, Unavailable | NotAuthenticated):
            said += [(later, error) for later in answers[len(said) :]]
            return Outcome(tuple(said), None, None)
    if beside is None:
        return Outcome(tuple(said), None, None)
    try:
        return Outcome(tuple(said), fetch(client, dataset, beside), None)
    except LearnloopError as error:
        return Outcome(tuple(said), None, error)


def send(client: LearnloopClient, answer: Answer) -> LearnloopError | None:
    try:
        if answer.label is None:
            reason = ": ".join(filter(None, (answer.skip_reason, answer.comment)))
            client.skip(answer.task_id, reason, key=answer.key)
        else:
            client.submit(answer.task_id, answer.label, key=answer.key, seconds=answer.seconds, comment=answer.comment)
    except LearnloopError as error:
        return error
    return None


def fetch(client: LearnloopClient, dataset: str, beside: int | None = None) -> Loaded | None:
    """Claim a task, and have its sample. One that another tab of this person's answered in between is passed over.

    Raises:
        LearnloopError: none could be claimed.
    """
    passed: set[int] = set()
    while (task := client.claim(dataset, beside=beside)) is not None:
        loaded = load(client, task)
        # In hand still, it comes again: then its sample is what is not there.
        if not isinstance(loaded.error, NotFound) or task.id in passed:
            return loaded
        passed.add(task.id)
    return None


def load(client: LearnloopClient, task: Task) -> Loaded:
    try:
        return Loaded(task, client.content(task.id))
    except LearnloopError as error:
        return Loaded(task, None, error)
