"""One person at work on one dataset: the task in hand, the one to follow it, and the answers the API has not taken yet.

Pure of Streamlit; the page keeps one ``Desk`` in its session. Nothing here raises: what went wrong is kept as an error
for the page to show, so that an answer given by one key press is never lost to an exception.

While a person looks at a task, the next one is leased and loaded already. Their answer is sent beside the page
(``errand``), which shows the next task at once; ``settle`` takes in what came of it.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from annotation_app.errand import Answer, Errand, Kept, Loaded, fetch, load, send
from annotation_app.texts import text
from learnloop.client import LearnloopClient, ProgressInfo, Task
from learnloop.errors import LearnloopError, NotAuthenticated, Unavailable

Result = TypeVar("Result")

RENEW_BELOW = timedelta(seconds=45)
"""The lease of the task in hand is renewed when less than this is left of it."""
LEFT_AT_LEAST = timedelta(seconds=10)
"""A task that was leased in advance is taken in hand only if so much is left of its lease. It is not renewed before."""
HOLD = timedelta(minutes=15)
"""A task that nobody answers for so long is let go: a forgotten tab must not keep it from others."""
QUALITY_SECONDS = 30.0
"""How far one's own answers can be trusted changes slowly."""
AGAIN_SECONDS = 2.0
"""An API that did not answer, or had no task, is not asked again before."""


@dataclass
class Desk:
    client: LearnloopClient
    user: str
    dataset: str
    clock: Callable[[], float] = time.monotonic
    task: Task | None = None
    content: bytes | None = None
    fault: LearnloopError | None = None
    """Why ``content`` did not come."""
    drawn: int | None = None
    """The task that the page showed last. Nothing else can be answered: while the page is drawn anew, one key presses a
    button of the task before as well as one of the task in hand.
    """
    ahead: Loaded | None = None
    """The task that follows the one in hand, leased and loaded in advance."""
    error: LearnloopError | None = None
    """Why there is no task in hand, or none that can be shown; None when the queue is merely empty."""
    offline: bool = False
    """The API did not answer when it was asked last."""
    paused: bool = False
    """A task was let go because nobody answered it; the next is taken when somebody says so."""
    signed_out: LearnloopError | None = None
    """The API's error when it no longer knows the person."""
    kept: dict[int, Kept] = field(default_factory=dict)
    last: Answer | None = None
    """The answer the API took last, unless it was taken back."""
    notice: LearnloopError | str | None = None
    """What came of taking an answer back, or of choosing a task, when it did not simply come."""
    quality: dict[str, Any] | None = None
    """The person's own figures, as they were when they could be read last."""
    progress: ProgressInfo | None = None
    """As it was when it could be read last."""
    _errand: Errand | None = None
    _shown_at: float = 0.0
    _asked_at: float = -math.inf
    _quality_at: float = -math.inf

    def take(self) -> bool:
        """Claim a task unless one is in hand, after what a lost connection kept back. True when there is one now."""
        if self.task is not None:
            return True
        self.settle()
        self.paused, self.error = False, None
        self.send_kept()
        if not self._waits_for_connection():
            loaded = self._try(lambda: fetch(self.client, self.dataset))
            if loaded is not None:
                self._put_in_hand(loaded)
                self._fetch_next()
        self._asked_at = self.clock()
        return self.task is not None

    def go_on(self) -> None:
        """Somebody is there after all."""
        self.take()

    def choose(self, task_id: int) -> bool:
        """Take up a task of the person's choice; what is in hand goes back. False, with a notice, when it cannot be had."""
        self.settle()
        self.notice = None
        try:
            task = self.client.choose(task_id)
        except LearnloopError as error:
            self._note(error)
            self.notice, self.error = error, None
            return False
        self.offline, self.paused, self.error = False, False, None
        self._put_down()
        self._put_in_hand(load(self.client, task))
        self._fetch_next()
        return True

    def look_again(self) -> bool:
        """``take``, unless the API was asked just now and there was nothing to be had."""
        if self.task is None and self.clock() - self._asked_at < AGAIN_SECONDS:
            return False
        return self.take()

    def load(self) -> None:
        """Fetch the bytes of the sample in hand again."""
        if self.task is not None:
            self._put_in_hand(load(self.client, self.task))

    @property
    def can_undo(self) -> bool:
        """Whether there is an answer to take back. One that is not sent yet can be discarded instead."""
        return self.last is not None and not self.kept

    def undo(self) -> None:
        """Take the last answer back and have its task in hand again; what is in hand goes back to the queue."""
        self.settle()
        if not self.can_undo:
            return
        key = uuid.uuid4().hex
        try:
            task = self.client.undo(self.dataset, key=key)
        except LearnloopError as error:
            self._note(error)
            self.notice, self.error = error, None
            if not isinstance(error, Unavailable | NotAuthenticated):
                self.last = None  # it stands
            return
        self.offline, self.last = False, None
        self.notice = None if task is not None else text("undo.later")
        self._put_down()
        if task is None:
            self.take()
        else:
            self._put_in_hand(load(self.client, task))
            self._fetch_next()

    def answer(self, task_id: int, label: str | None, skip_reason: str = "", comment: str = "") -> None:
        """Send one answer (no label: a skip) and have the next task. A second press for the same task does nothing, nor
        does one for a task that was not ``drawn``, or a label for a sample whose bytes never came.
        """
        if (
            self.task is None
            or not self.task.id == task_id == self.drawn
            or (label is not None and self.content is None)
        ):
            return
        self.settle()  # the answer before, if it is still on its way: it brings the next task
        seconds = round(self.clock() - self._shown_at, 2)
        answer = Answer(task_id, self.task.sample_id, label, skip_reason, seconds, uuid.uuid4().hex, comment)
        following = self._following()
        self._put_down()
        self.notice = self.error = None
        if following is not None:
            self._put_in_hand(following)
            self._fetch_next([answer])
            return
        self._heard(answer, send(self.client, answer))
        if self._waits_for_connection():
            self._asked_at = self.clock()
        else:
            self.take()

    def settle(self, most: float | None = None) -> bool:
        """Take in what came of what is on its way. False when it is still on its way after ``most`` seconds."""
        if self._errand is None:
            return True
        outcome = self._errand.outcome(most)
        if outcome is None:
            return False
        self._errand = None
        for answer, error in outcome.answers:
            self._heard(answer, error)
        self.ahead = outcome.ahead
        if outcome.error is not None and self.task is None:
            self._note(outcome.error)  # with a task in hand it can wait: the next claim says it again
        return True

    @property
    def on_its_way(self) -> list[Answer]:
        """Answers that nothing is known of yet."""
        sent = () if self._errand is None else self._errand.answers
        return [answer for answer in sent if answer.task_id not in self.kept]

    def send_kept(self, *, refused_too: bool = False) -> None:
        """Send what is kept once more: after a lost connection by itself, what was refused when told to."""
        self.settle()
        for kept in list(self.kept.values()):
            if refused_too or not kept.refused:
                self._heard(kept.answer, send(self.client, kept.answer))

    def send_again(self) -> None:
        """Send what a lost connection kept back, beside the page; for a pulse."""
        if self._errand is None and self._waits_for_connection():
            self._fetch_next([kept.answer for kept in self.kept.values() if not kept.refused])

    def discard_kept(self) -> None:
        self.kept.clear()

    def leave(self) -> None:
        """Give back what is leased: somebody else may have it at once."""
        self.settle()
        held = [self.task, None if self.ahead is None else self.ahead.task]
        self._put_down()
        for task in filter(None, held):
            self._give_back(task)

    def read_progress(self) -> None:
        """Unless the API is known not to answer: then the last one read will do."""
        if not self.offline:
            self.progress = self._try(lambda: self.client.progress(self.dataset)) or self.progress
        if not self.offline and self.clock() - self._quality_at >= QUALITY_SECONDS:
            self.quality = self._try(lambda: self.client.my_quality(self.dataset)) or self.quality
            self._quality_at = self.clock()

    def keep_lease(self, now: datetime) -> None:
        """Renew the lease of the task in hand while a person may still be looking at it, then let it go.

        The one that follows is not renewed: while nobody looks at it, it blocks others for one lease at most.
        """
        if self.ahead is not None and left(self.ahead.task, now) < LEFT_AT_LEAST:
            self._give_back(self.ahead.task)
            self.ahead = None
        task = self.task
        if task is None or task.lease_expires_at is None:
            return
        waited = timedelta(seconds=self.clock() - self._shown_at)
        if left(task, now) < RENEW_BELOW and waited < HOLD:
            renewed = self._try(lambda: self._renew(task))
            if renewed is not None:
                self.task = renewed
            elif not self.offline:
                self._pause()
        elif left(task, now) < timedelta(0):
            self._pause()

    def _renew(self, task: Task) -> Task:
        self.client.renew(task.id)
        return self.client.task(task.id)

    def _pause(self) -> None:
        if self.ahead is not None:
            self._give_back(self.ahead.task)
        self._put_down()
        self.paused = True

    def _give_back(self, task: Task) -> None:
        """If it does not come through, the lease lapses."""
        self._try(lambda: self.client.release(task.id))

    def _following(self) -> Loaded | None:
        """The task that was leased in advance, if its lease still holds."""
        found, self.ahead = self.ahead, None
        return found if found is not None and left(found.task, now()) >= LEFT_AT_LEAST else None

    def _fetch_next(self, answers: Sequence[Answer] = ()) -> None:
        beside = None if self.task is None else self.task.id
        self._errand = Errand(self.client, self.dataset, answers, beside)

    def _heard(self, answer: Answer, error: LearnloopError | None) -> None:
        """Take in what the API said of an answer."""
        if error is None:
            self.offline = False
            self.kept.pop(answer.task_id, None)
            self.last = answer
            return
        self._note(error)
        kept = Kept(answer, error)
        if kept.refused and answer.label is None:
            self.kept.pop(answer.task_id, None)  # no longer this person's task: what a skip asks for
        else:
            self.kept[answer.task_id] = kept

    def _try(self, call: Callable[[], Result]) -> Result | None:
        """What ``call`` gives; None, with the error noted, when the API refuses it or does not answer."""
        try:
            result = call()
        except LearnloopError as error:
            self._note(error)
            return None
        self.offline = False
        return result

    def _note(self, error: LearnloopError) -> None:
        self.error = error
        self.offline = isinstance(error, Unavailable)
        if isinstance(error, NotAuthenticated):
            self.signed_out = error

    def _waits_for_connection(self) -> bool:
        return any(not kept.refused for kept in self.kept.values())

    def _put_in_hand(self, loaded: Loaded) -> None:
        """The clock of its answer starts: its bytes are here."""
        self.task, self.content, self._shown_at = loaded.task, loaded.content, self.clock()
        self.fault = loaded.error
        if loaded.error is not None:
            self._note(loaded.error)

    def _put_down(self) -> None:
        self.task = self.content = self.ahead = self.fault = self.drawn = None


def left(task: Task, now: datetime) -> timedelta:
    """How long the task's lease still holds."""
    expires = task.lease_expires_at
    return timedelta.max if expires is None else datetime.fromisoformat(expires) - now


def now() -> datetime:
    return datetime.now(UTC)
