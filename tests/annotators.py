"""Simulated annotators over HTTP, who do what people and networks do: click twice, fall asleep, go away, ask again."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx

from learnloop.client import API, LearnloopClient, Task
from learnloop.errors import Conflict, LearnloopError, PermissionDenied, Unavailable

HABITS = {"answers": 70, "clicks twice": 12, "falls asleep": 6, "goes away": 5, "sends again": 7}
"""What an annotator does next, and how often of a hundred times."""


@dataclass(frozen=True)
class Hold:
    """``annotator`` had ``task`` all the time from ``start`` to ``end`` (seconds since the epoch, this machine's clock)."""

    task: int
    annotator: str
    start: float
    end: float


@dataclass
class Seen:
    """What all annotators saw. ``accepted``: (task, annotator) -> label of each answer that the API said it has."""

    accepted: dict[tuple[int, str], str] = field(default_factory=dict)
    leases: list[Hold] = field(default_factory=list)
    answered: dict[tuple[int, str], float] = field(default_factory=dict)
    """When an answer was first sent: from then on its task may be somebody else's."""
    did: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """What must not be."""

    @property
    def holds(self) -> list[Hold]:
        never = float("inf")
        return [
            replace(lease, end=min(lease.end, self.answered.get((lease.task, lease.annotator), never)))
            for lease in self.leases
        ]


class Annotator:
    """One person. ``truth`` is what they answer; ``seen`` is shared, and only ever added to."""

    def __init__(
        self, url: str, name: str, token: str, dataset: str, seed: int, seen: Seen, truth: Callable[[str], str]
    ) -> None:
        self.name, self._dataset, self._seen, self._truth = name, dataset, seen, truth
        self._url, self._token = url, token
        self._client = LearnloopClient(url, token)
        self._chance = random.Random(seed)
        self._sent: list[tuple[int, str, str]] = []  # task, label, key
        self._twice = ThreadPoolExecutor(2)

    def work(self, calm: threading.Event, end: threading.Event) -> None:
        """Answer until ``end``; from ``calm`` on, do nothing else."""
        try:
            while not end.is_set():
                habit = "answers" if calm.is_set() else self._chance.choices(list(HABITS), list(HABITS.values()))[0]
                self._once(habit, calm, end)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test has to hear of it
            self._seen.faults.append(f"{self.name}: {error!r}")
        finally:
            self._client.close()
            self._twice.shutdown()

    def _once(self, habit: str, calm: threading.Event, end: threading.Event) -> None:
        if habit == "sends again":
            self._send_again()
            return
        task = self._until_it_answers(lambda: self._client.claim(self._dataset))
        if task is None:
            end.wait(0.2)  # there may be more later
            return
        arrived, expires = time.time(), datetime.fromisoformat(task.lease_expires_at).timestamp()
        self._seen.leases.append(Hold(task.id, self.name, arrived, expires))
        if habit == "goes away":
            self._seen.did[habit] += 1
            return
        if habit == "falls asleep":
            calm.wait(expires - arrived + 0.1)
        label, key = self._truth(task.sample_id), uuid.uuid4().hex
        self._seen.answered.setdefault((task.id, self.name), time.time())
        if habit == "clicks twice":
            self._click_twice(task, label, key)
        self._submit(task, label, key, expires)
        self._seen.did[habit] += 1

    def _submit(self, task: Task, label: str, key: str, expires: float) -> None:
        """Send an answer until it is known what became of it. It may be refused only once the lease has ended: because its
        holder slept, or because it took so long until somebody answered, as after a kill.
        """
        try:
            self._until_it_answers(lambda: self._client.submit(task.id, label, key=key))
        except (PermissionDenied, Conflict) as error:
            self._seen.did["refused"] += 1
            if time.time() < expires:
                self._seen.faults.append(f"{self.name} held task {task.id}, and was told: {error}")
            return
        self._seen.accepted[task.id, self.name] = label
        self._sent.append((task.id, label, key))

    def _click_twice(self, task: Task, label: str, key: str) -> None:
        """Two requests at once, with one key or (as from two tabs) without. What became of them, the third tells."""
        headers = {"Authorization": f"Bearer {self._token}"}
        if self._chance.random() < 0.5:
            headers["Idempotency-Key"] = key

        def click() -> int | None:
            try:
                url = f"{self._url}{API}/tasks/{task.id}/annotation"
                return httpx.post(url, json={"label": label}, headers=headers, timeout=30).status_code
            except httpx.HTTPError:
                return None

        for status in [self._twice.submit(click) for _ in range(2)]:
            if status.result() not in (201, 403, 409, None):
                self._seen.faults.append(f"{self.name} clicked twice on task {task.id}: {status.result()}")

    def _send_again(self) -> None:
        """An answer of before: the same is taken as the same; another is refused."""
        if not self._sent:
            return
        task, label, key = self._chance.choice(self._sent)
        self._until_it_answers(lambda: self._client.submit(task, label, key=self._chance.choice([key, None])))
        try:
            self._until_it_answers(lambda: self._client.submit(task, "dog" if label == "cat" else "cat"))
        except Conflict:
            self._seen.did["sends again"] += 1
        else:
            self._seen.faults.append(f"{self.name} answered task {task} twice, differently")

    def _until_it_answers(self, ask: Callable[[], Any]) -> Any:
        while True:
            try:
                return ask()
            except Unavailable:
                self._seen.did["no answer"] += 1
            except LearnloopError as error:
                if error.status not in (500, 502, 503):
                    raise
                self._seen.faults.append(f"{self.name}: {error}")
                raise


def overlapping(holds: list[Hold]) -> list[tuple[Hold, Hold]]:
    """Pairs of holds of one task by two people at one time."""
    found = []
    by_task: dict[int, list[Hold]] = {}
    for hold in sorted(holds, key=lambda hold: hold.start):
        for other in by_task.setdefault(hold.task, []):
            if other.annotator != hold.annotator and hold.start < min(other.end, hold.end):
                found.append((other, hold))
        by_task[hold.task].append(hold)
    return found
