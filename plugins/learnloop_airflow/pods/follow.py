"""Passes on what a job's pod says while it is there: its containers' lines, its progress, what it waits for."""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from learnloop.settings import settings
from learnloop_airflow.pods import state
from learnloop_airflow.pods.names import JOB, STAGE
from learnloop_airflow.pods.raw import body
from learnloop_airflow.pods.resize import Resizer
from learnloop_airflow.pods.usage import MemoryWatch, memory_limit

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

    from kubernetes_asyncio.client import CoreV1Api

    from learnloop_airflow.pods.names import Owner


class Waits:
    """Says what a task waits for."""

    def __init__(self, log: Logger, owner: Owner | None, user: str) -> None:
        self.log = log
        self.owner = owner
        self.user = user
        self._said = ""

    async def say(self, reason: str) -> None:
        """Show what the job waits for, in the log and as its progress; once, however often it is said."""
        if reason != self._said:
            self._said = reason
            self.log.info("%s", reason)
            line = {"at": datetime.now(UTC).isoformat(), "state": "waits", "reason": reason}
            await asyncio.to_thread(self._report, json.dumps(line).encode())

    def _report(self, line: bytes) -> None:
        from learnloop.events.progress import TaskName, pass_on

        if self.owner is not None:
            owner = self.owner
            pass_on(TaskName(owner.dag_id, owner.run_id, owner.task_id, owner.map_index), self.user, line)


class Follower(Waits):
    """What one wait for a pod has passed on so far.

    Lines go to the trigger's log, which Airflow shows as the task's. ``logged`` has, for each container, the time stamp
    of the last one: who goes on from there repeats nothing.
    """

    def __init__(
        self, log: Logger, owner: Owner | None, user: str, results: Path, admitted: dict[str, str] | None
    ) -> None:
        super().__init__(log, owner, user)
        self.results = results
        self.admitted = admitted
        self._whose = admitted
        self._warning: dict[str, str] = {}
        self.logged: dict[str, str] = {}
        self.has_seen_pod = False
        self._told = b""
        self._memory = MemoryWatch(log, Resizer(results, settings().job_memory_cap))

    async def follow(self, api: CoreV1Api, pod: Any) -> None:
        """Pass on what is new of ``pod``."""
        self.has_seen_pod = True
        for container in (STAGE, JOB):
            if state.has_begun(pod, container):
                await self._log_of(api, pod, container)
        if state.has_begun(pod, JOB):
            await asyncio.to_thread(self._begun)
            await asyncio.to_thread(self._progress)
        if state.running(pod, JOB):
            warning = await self._memory.warning(api, pod)
            if warning is not None:
                self.log.warning("%s", warning)
                await asyncio.to_thread(self._warn, warning, memory_limit(pod))

    @property
    def used(self) -> dict[str, Any]:
        """What was seen of the job's use of memory and processors: a `learnloop_airflow.pods.usage.Seen`."""
        return asdict(self._memory.seen)

    async def new_pod(self, reason: str) -> None:
        """The pod that was followed is gone, and there will be another."""
        await self.say(reason)
        self.logged.clear()
        self.has_seen_pod = False

    def committed(self) -> bool:
        from learnloop.jobs.contract import RESULT

        return (self.results / RESULT).exists()

    def reject(self) -> None:
        from learnloop.jobs.contract import RESULT

        (self.results / RESULT).unlink(missing_ok=True)

    async def _log_of(self, api: CoreV1Api, pod: Any, container: str) -> None:
        from kubernetes_asyncio.client import ApiException

        last = self.logged.get(container)
        arguments = {"container": container, "timestamps": True, "_preload_content": False}
        if last is not None:
            arguments["since_seconds"] = seconds_since(last)
        try:
            answer = await api.read_namespaced_pod_log(pod.metadata.name, pod.metadata.namespace, **arguments)
            text = (await body(answer)).decode(errors="replace")
        except ApiException as error:
            if error.status not in (
                400,
                404,
            ):  # not there yet, or no more: lines, unlike results, may be lost with a pod
                raise
            return
        for at, line in lines_after(text, last):
            self.logged[container] = at
            self.log.info("%s", line)

    def _begun(self) -> None:
        if self.admitted is None:
            return
        from sqlalchemy.exc import SQLAlchemyError

        from learnloop.events.log import tell

        try:
            tell(**self.admitted)
        except SQLAlchemyError:  # news, no part of the work: it is told at the next look
            self.log.exception("%s could not be told that the job begins", self.user)
        else:
            self.admitted = None

    def _progress(self) -> None:
        from learnloop.events.progress import last_line

        line = last_line(self.results / "progress.jsonl")
        if not line and self._said:
            line = json.dumps({"state": "runs"}).encode()
        if line and line != self._told:
            self._told = line
            self._report(with_warning(line, self._warning))

    def _warn(self, warning: str, limit: str | None) -> None:
        """Show a warning with the job's progress, from now on, and tell the person whose run it is; once a limit."""
        from sqlalchemy.exc import SQLAlchemyError

        from learnloop.events.log import tell

        self._warning = {"warning": warning}
        self._report(with_warning(self._told or json.dumps({"state": "runs"}).encode(), self._warning))
        if self._whose is None or self.owner is None:
            return
        task = self.owner.task_id + (f" {self.owner.map_index}" if self.owner.map_index >= 0 else "")
        told = {
            **self._whose,
            "kind": "warning",
            "text_": f"{self.owner.dag_id} {self.owner.run_id}: {task}: {warning}",
            "key": f"warning {self._whose['key']} {task} {limit}",
        }
        try:
            tell(**told)
        except SQLAlchemyError:  # news, no part of the work: the log has it
            self.log.exception("%s could not be warned", self.user)


def with_warning(line: bytes, warning: dict[str, str]) -> bytes:
    """A line of progress that says a warning besides: what a job says of itself does not hide it."""
    if not warning:
        return line
    try:
        return json.dumps({**json.loads(line), **warning}).encode()
    except ValueError:  # no JSON: whoever keeps it says so
        return line


def lines_after(text: str, last: str | None) -> list[tuple[str, str]]:
    """The lines of a log with time stamps that are later than ``last``, each with its stamp."""
    found = []
    for line in text.splitlines():
        at, _, said = line.partition(" ")
        if last is None or _moment(at) > _moment(last):
            found.append((at, said))
    return found


def seconds_since(at: str) -> int:
    """So many seconds back one has to ask for all that came after ``at``; clocks may differ by a little."""
    return max(1, math.ceil(time.time() - _moment(at)[0]) + 5)


def _moment(at: str) -> tuple[int, int]:
    """Seconds and nanoseconds of a time stamp such as ``2026-01-02T03:04:05.123456789Z``, which omits trailing zeros."""
    whole, _, rest = at.removesuffix("Z").partition(".")
    try:
        return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()), int(rest.ljust(9, "0")[:9] or 0)
    except ValueError:
        return 0, 0
