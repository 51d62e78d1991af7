"""One person at work on one dataset: the task in hand, and the answers the API has not taken yet.

Pure of Streamlit; the page keeps one ``Desk`` in its session. Nothing here raises: what went wrong is kept as a
sentence for the page to show, so that an answer given by one key press is never lost to an exception.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from learnloop.client import LearnloopClient, Task
from learnloop.errors import Gone, LearnloopError, NotAuthenticated, Unavailable

RENEW_BELOW = timedelta(seconds=45)
"""A task's lease is renewed when less than this is left of it."""
HOLD = timedelta(minutes=15)
"""A task that nobody answers for so long is let go: a forgotten tab must not keep it from others."""


@dataclass(frozen=True)
class Answer:
    """What a person said of a task: a label, or why they skip it."""

    task_id: int
    sample_id: str
    label: str | None
    skip_reason: str | None
    seconds: float


@dataclass
class Kept:
    """An answer that was not taken, with the reason."""

    answer: Answer
    problem: str
    lapsed: bool
    """The lease is gone: it takes a person to decide whether to send it again."""


@dataclass
class Desk:
    client: LearnloopClient
    user: str
    dataset: str
    clock: Callable[[], float] = time.monotonic
    task: Task | None = None
    content: bytes | None = None
    problem: str | None = None
    """Why there is no task in hand, or none that can be shown; None when the queue is merely empty."""
    paused: bool = False
    """A task was let go because nobody answered it; the next is taken when somebody says so."""
    signed_out: str | None = None
    """The API's sentence when it no longer knows the person."""
    kept: dict[int, Kept] = field(default_factory=dict)
    last: Answer | None = None
    """The answer the API took last."""
    _shown_at: float = 0.0

    def take(self) -> bool:
        """Claim a task unless one is in hand. True when there is one now."""
        if self.task is not None:
            return True
        self.paused = False
        try:
            self.task = self.client.claim(self.dataset)
        except LearnloopError as error:
            self._fail(error)
            return False
        self.problem = None
        if self.task is not None:
            self.load()
        return self.task is not None

    def load(self) -> None:
        """Fetch the sample's bytes; the clock of this answer starts when they are here."""
        assert self.task is not None
        try:
            self.content = self.client.content(self.task.id)
            self.problem = None
        except LearnloopError as error:
            self._fail(error)
        self._shown_at = self.clock()

    def answer(self, task_id: int, label: str | None, skip_reason: str | None = None) -> None:
        """Send one answer and take the next task. A second press for a task already answered does nothing."""
        if self.task is None or self.task.id != task_id:
            return
        seconds = round(self.clock() - self._shown_at, 2)
        answer = Answer(task_id, self.task.sample_id, label, skip_reason, seconds)
        self._put_down()
        self._send(answer)
        self.take()

    def send_kept(self, *, lapsed_too: bool = False) -> None:
        """Send what is kept once more: after a lost connection by itself, after a lapsed lease when told to."""
        for kept in list(self.kept.values()):
            if lapsed_too or not kept.lapsed:
                self._send(kept.answer)

    def discard_kept(self) -> None:
        self.kept.clear()

    def keep_lease(self, now: datetime) -> None:
        """Renew the lease of the task in hand while a person may still be looking at it, then let it go."""
        if self.task is None or self.content is None:
            return
        left = self.task.lease_expires_at - now
        waited = timedelta(seconds=self.clock() - self._shown_at)
        if left > RENEW_BELOW:
            return
        if waited < HOLD:
            try:
                self.task = self.client.renew(self.task.id)
            except Unavailable:
                pass  # the next pulse tries again; the lease has RENEW_BELOW left for that
            except LearnloopError as error:
                self._fail(error)
                self._put_down()
                self.paused = isinstance(error, Gone)
        elif left < timedelta(0):
            self._put_down()
            self.paused = True

    def _send(self, answer: Answer) -> None:
        try:
            if answer.label is None:
                self.client.skip(answer.task_id, answer.skip_reason or "")
            else:
                self.client.annotate(answer.task_id, answer.label, seconds=answer.seconds)
        except LearnloopError as error:
            lapsed = not isinstance(error, Unavailable | NotAuthenticated)
            self.kept[answer.task_id] = Kept(answer, str(error), lapsed)
            self._fail(error)
        else:
            self.kept.pop(answer.task_id, None)
            self.last = answer

    def _put_down(self) -> None:
        self.task = None
        self.content = None

    def _fail(self, error: LearnloopError) -> None:
        if isinstance(error, NotAuthenticated):
            self.signed_out = str(error)
        self.problem = str(error)


def now() -> datetime:
    return datetime.now(UTC)
