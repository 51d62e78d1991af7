"""One person at work on one dataset: the task in hand, and the answers the API has not taken yet.

Pure of Streamlit; the page keeps one ``Desk`` in its session. Nothing here raises: what went wrong is kept as a
sentence for the page to show, so that an answer given by one key press is never lost to an exception.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from annotation_app.texts import text
from learnloop.client import LearnloopClient, ProgressInfo, Task
from learnloop.errors import LearnloopError, NotAuthenticated, Unavailable

Result = TypeVar("Result")

RENEW_BELOW = timedelta(seconds=45)
"""A task's lease is renewed when less than this is left of it."""
HOLD = timedelta(minutes=15)
"""A task that nobody answers for so long is let go: a forgotten tab must not keep it from others."""
QUALITY_SECONDS = 30.0
"""How far one's own answers can be trusted changes slowly."""
AGAIN_SECONDS = 2.0
"""An API that did not answer, or had no task, is not asked again before."""


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
    """An answer that was not taken, with the API's reason."""

    answer: Answer
    problem: str
    refused: bool
    """The API answered and said no; it takes a person to decide whether to send it again."""


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
    offline: bool = False
    """The API did not answer when it was asked last."""
    paused: bool = False
    """A task was let go because nobody answered it; the next is taken when somebody says so."""
    signed_out: str | None = None
    """The API's sentence when it no longer knows the person."""
    kept: dict[int, Kept] = field(default_factory=dict)
    last: Answer | None = None
    """The answer the API took last, unless it was taken back."""
    notice: str | None = None
    """What came of taking an answer back, when it did not simply come back."""
    quality: dict[str, Any] | None = None
    """The person's own figures, as they were when they could be read last."""
    progress: ProgressInfo | None = None
    """As it was when it could be read last."""
    _shown_at: float = 0.0
    _asked_at: float = -math.inf
    _quality_at: float = -math.inf

    def take(self) -> bool:
        """Claim a task unless one is in hand, after what a lost connection kept back. True when there is one now."""
        if self.task is not None:
            return True
        self.paused = False
        self.problem = None
        self.send_kept()
        if not self._waits_for_connection():
            self.task = self._try(lambda: self.client.claim(self.dataset))
        if self.task is not None:
            self.load()
        self._asked_at = self.clock()
        return self.task is not None

    def go_on(self) -> None:
        """Somebody is there after all."""
        self.take()

    def look_again(self) -> bool:
        """``take``, unless the API was asked just now and there was nothing to be had."""
        if self.task is None and self.clock() - self._asked_at < AGAIN_SECONDS:
            return False
        return self.take()

    def load(self) -> None:
        """Fetch the bytes of the task's sample; the clock of its answer starts when they are here."""
        task = self.task
        if task is not None:
            self.content = self._try(lambda: self.client.content(task.id))
            self._shown_at = self.clock()

    @property
    def can_undo(self) -> bool:
        """Whether there is an answer to take back. One that is not sent yet can be discarded instead."""
        return self.last is not None and not self.kept

    def undo(self) -> None:
        """Take the last answer back and have its task in hand again; the task in hand goes back to the queue."""
        if not self.can_undo:
            return
        key = uuid.uuid4().hex
        try:
            task = self.client.undo(self.dataset, key=key)
        except LearnloopError as error:
            self._note(error)
            self.notice, self.problem = str(error), None
            if not isinstance(error, Unavailable | NotAuthenticated):
                self.last = None  # it stands
            return
        self.offline, self.last = False, None
        self.notice = None if task is not None else text("undo.later")
        self._put_down()
        self.task = task
        if task is None:
            self.take()
        else:
            self.load()

    def answer(self, task_id: int, label: str | None, skip_reason: str = "", comment: str = "") -> None:
        """Send one answer (no label: a skip) and take the next task. A second press for the same task does nothing."""
        if self.task is None or self.task.id != task_id:
            return
        seconds = round(self.clock() - self._shown_at, 2)
        answer = Answer(task_id, self.task.sample_id, label, skip_reason, seconds, uuid.uuid4().hex, comment)
        self._put_down()
        self.notice = None
        self._send(answer)
        if self._waits_for_connection():
            self._asked_at = self.clock()
        else:
            self.take()

    def send_kept(self, *, refused_too: bool = False) -> None:
        """Send what is kept once more: after a lost connection by itself, what was refused when told to."""
        for kept in list(self.kept.values()):
            if refused_too or not kept.refused:
                self._send(kept.answer)

    def discard_kept(self) -> None:
        self.kept.clear()

    def read_progress(self) -> None:
        """Unless the API is known not to answer: then the last one read will do."""
        if not self.offline:
            self.progress = self._try(lambda: self.client.progress(self.dataset)) or self.progress
        if not self.offline and self.clock() - self._quality_at >= QUALITY_SECONDS:
            self.quality = self._try(lambda: self.client.my_quality(self.dataset)) or self.quality
            self._quality_at = self.clock()

    def keep_lease(self, now: datetime) -> None:
        """Renew the lease of the task in hand while a person may still be looking at it, then let it go."""
        task = self.task
        if task is None or task.lease_expires_at is None:
            return
        left = datetime.fromisoformat(task.lease_expires_at) - now
        waited = timedelta(seconds=self.clock() - self._shown_at)
        if left < RENEW_BELOW and waited < HOLD:
            renewed = self._try(lambda: self._renew(task))
            if renewed is not None:
                self.task = renewed
            elif not self.offline:
                self._put_down()
                self.paused = True
        elif left < timedelta(0):
            self._put_down()
            self.paused = True

    def _renew(self, task: Task) -> Task:
        self.client.renew(task.id)
        return self.client.task(task.id)

    def _send(self, answer: Answer) -> None:
        try:
            if answer.label is None:
                reason = ": ".join(filter(None, (answer.skip_reason, answer.comment)))
                self.client.skip(answer.task_id, reason)
            else:
                said = {"seconds": answer.seconds, "comment": answer.comment, "key": answer.key}
                self.client.submit(answer.task_id, answer.label, **said)
        except LearnloopError as error:
            self._note(error)
            refused = not isinstance(error, Unavailable | NotAuthenticated)
            if refused and answer.label is None:
                self.kept.pop(answer.task_id, None)  # no longer this person's task: what a skip asks for
            else:
                self.kept[answer.task_id] = Kept(answer, str(error), refused)
        else:
            self.offline = False
            self.kept.pop(answer.task_id, None)
            self.last = answer

    def _try(self, call: Callable[[], Result]) -> Result | None:
        """What ``call`` gives; None, with the reason noted, when the API refuses it or does not answer."""
        try:
            result = call()
        except LearnloopError as error:
            self._note(error)
            return None
        self.offline = False
        return result

    def _note(self, error: LearnloopError) -> None:
        self.problem = str(error)
        self.offline = isinstance(error, Unavailable)
        if isinstance(error, NotAuthenticated):
            self.signed_out = str(error)

    def _waits_for_connection(self) -> bool:
        return any(not kept.refused for kept in self.kept.values())

    def _put_down(self) -> None:
        self.task = None
        self.content = None


def now() -> datetime:
    return datetime.now(UTC)
