"""A task of Airflow's that runs one job, without Airflow: its operator, its trigger, and its tries, one after the other.

What Airflow does between them (storing a trigger, moving it, killing a worker) is tested with the whole stack, in
tests/kubernetes/test_pods_in_airflow.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import TaskDeferred

from learnloop.errors import JobFailed
from learnloop_airflow.operators.job import JobOperator
from learnloop_airflow.triggers.job_pod import JobPodTrigger


class Task:
    """One task of a run, tried by :meth:`run`, or step by step: :meth:`begin`, :meth:`wait`, :meth:`end`."""

    def __init__(
        self, spec: dict[str, Any], *, run_id: str = "round-digits-7", task_id: str = "train", **arguments: Any
    ) -> None:
        self.arguments = arguments
        self.spec = {"user": "ann", **spec}
        self.run_id, self.task_id = run_id, task_id
        self.try_number = 0
        self.lines: list[str] = []
        self.operator: JobOperator
        self.trigger: JobPodTrigger | None = None

    def run(self) -> dict[str, Any]:
        """One try, from beginning to end."""
        found = self.begin()
        while found is None:
            found = self.end(self.wait())
        return found

    def begin(self) -> dict[str, Any] | None:
        """The result, if there is one; else there is a trigger to wait for."""
        self.try_number += 1
        return self._step(lambda operator: operator.execute(self.context()))

    def wait(self, timeout: float = 100) -> dict[str, Any]:
        """What the trigger fires. It is made anew from what it serializes to, as each triggerer does."""
        return asyncio.run(asyncio.wait_for(self.fired(), timeout))

    async def fired(self) -> dict[str, Any]:
        async with asyncio.timeout(None):
            async for event in self.restored().run():
                return json.loads(json.dumps(event.payload))
        raise AssertionError("the trigger ended without an event")

    def restored(self) -> JobPodTrigger:
        assert self.trigger is not None
        path, arguments = self.trigger.serialize()
        assert path == "learnloop_airflow.triggers.job_pod.JobPodTrigger"
        self.trigger = JobPodTrigger(**json.loads(json.dumps(arguments)))
        self.trigger.poll_seconds = 0.3
        return self.trigger

    def end(self, event: dict[str, Any]) -> dict[str, Any] | None:
        return self._step(lambda operator: operator.resume_job(self.context(), event))

    def start(self) -> Local | Background:
        """Begin, and go on in the background: what runs can be killed as a person ends a task."""
        from learnloop.settings import settings

        if settings().job_runner == "local":
            return Local(self)
        assert self.begin() is None
        return self.in_background()

    def in_background(self) -> Background:
        """Wait in another thread, with the trigger in an event loop of its own."""
        return Background(self)

    def context(self) -> Any:
        task = SimpleNamespace(
            dag_id="incremental_training",
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=-1,
            try_number=self.try_number,
            start_date=datetime.now(UTC),
        )
        run = SimpleNamespace(
            dag_id="incremental_training", run_id=self.run_id, triggering_user_name="ann", clear_number=0, conf={}
        )
        return {"ti": task, "dag_run": run, "run_id": self.run_id, "dag": None}

    def _step(self, step: Callable[[JobOperator], dict[str, Any]]) -> dict[str, Any] | None:
        self.operator = JobOperator(task_id=self.task_id, spec=self.spec, **self.arguments)
        try:
            return step(self.operator)
        except TaskDeferred as deferred:
            waits = deferred
        assert waits.method_name == "resume_job"
        self.trigger = waits.trigger
        return None


class Local:
    """A task whose job runs here, in another thread."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._task.begin()
        except BaseException as error:  # noqa: BLE001 - asked for by the test
            self._error = error

    def kill(self) -> None:
        """What a worker does when a person ends the task."""
        self._task.operator.on_kill()
        self._thread.join(20)
        assert isinstance(self._error, JobFailed)


class Background:
    """A trigger that runs while the test does something to its pod."""

    def __init__(self, task: Task) -> None:
        self.event: dict[str, Any] | None = None
        self.error: BaseException | None = None
        self._trigger = task.restored()
        self._loop = asyncio.new_event_loop()
        self._run: asyncio.Task[None]
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def work() -> None:
            async for event in self._trigger.run():
                self.event = json.loads(json.dumps(event.payload))

        try:
            self._run = self._loop.create_task(work())
            self._loop.run_until_complete(self._run)
        except BaseException as error:  # noqa: BLE001 - asked for by the test
            self.error = error

    def join(self, timeout: float = 100) -> dict[str, Any]:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the trigger has not fired in time"
        if self.error is not None:
            raise self.error
        assert self.event is not None
        return self.event

    def kill(self) -> None:
        """What the triggerer does when a person ends the task: cancel, then ``on_kill``."""
        self._stop()
        asyncio.run(self._trigger.on_kill())

    def vanish(self) -> None:
        """What the end of a triggerer does: no ``on_kill``."""
        self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._run.cancel)
        self._thread.join(20)
        assert isinstance(self.error, asyncio.CancelledError)


logging.getLogger("kubernetes_asyncio").setLevel(logging.WARNING)
