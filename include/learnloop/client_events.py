"""What the client does with events: what you were told, how runs are, who is next. Part of ``learnloop.client``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from learnloop.client_data import Json, part
from learnloop.errors import Unavailable

if TYPE_CHECKING:
    import httpx

RECONNECT_SECONDS = 1.0
REOPENED = 30
"""How often in a row a stream is opened anew before it is given up."""


class EventMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        def _get(self, path: str, **params: Any) -> Any: ...
        def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...
        def _put(self, path: str, body: Json, if_match: str | None = None) -> Any: ...
        def _write(self, path: str, body: Json, key: str | None = None) -> httpx.Response: ...
        def _follow(self, path: str, headers: dict[str, str]) -> Iterator[Json]: ...

    def events(self, limit: int = 50) -> list[Json]:
        """The newest ``limit`` things that you were told."""
        return self._all("/events", limit)

    def follow_events(self, after: int | None = None) -> Iterator[Json]:
        """What you are told, as it happens and for ever; from the event with the id ``after`` on, or from now.

        A stream that breaks is opened again, and misses nothing.
        """
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        if after is None and (newest := self.events(1)):
            headers = {"Last-Event-ID": str(newest[0]["id"])}
        for event in self._again("/events/stream", headers):
            yield event["data"]

    def run_progress(self, dag_id: str, run_id: str) -> Json:
        """The state of a run, of its tasks, and the progress of their jobs."""
        return dict(self._get(f"/runs/{part(dag_id)}/{part(run_id)}/progress"))

    def run_mounts(self, dag_id: str, run_id: str) -> list[Json]:
        """What the run's tasks chose for their mounts: ``cost``, ``currency``, ``choices``, ``explanation``."""
        return list(self._get(f"/runs/{part(dag_id)}/{part(run_id)}/mounts")["items"])

    def run_usage(self, dag_id: str, run_id: str) -> list[Json]:
        """What the run's jobs used beside what they asked for, by try: processors, memory, GPUs; ``words`` says it."""
        return list(self._get(f"/runs/{part(dag_id)}/{part(run_id)}/usage")["items"])

    def estimate_mounts(self, mounts: list[Json]) -> Json:
        """Which storage classes would be chosen for these mounts, what they would cost, and why; nothing is made."""
        return dict(self._write("/mounts/estimate", {"mounts": mounts}).json())

    def follow_run(self, dag_id: str, run_id: str) -> Iterator[Json]:
        """Each task of a run whenever it changes, until the run has ended; last ``{dag_id, run_id, state}``."""
        for event in self._again(f"/runs/{part(dag_id)}/{part(run_id)}/stream", {}):
            yield event["data"]
            if event["event"] == "run":
                return

    def queue(self, limit: int = 200) -> list[Json]:
        """The jobs that run, then those that wait for their turn, next first, each with its place and why."""
        return self._all("/queue", limit)

    def capacity(self) -> Json:
        """What each node pool has, what others use of it, and what jobs hold."""
        return dict(self._get("/capacity"))

    def notifications(self) -> Json:
        """Where you are told of events: ``mail``, ``webhook``, ``kinds``."""
        return dict(self._get("/session/notifications"))

    def set_notifications(
        self, *, mail: str | None = None, webhook: str | None = None, kinds: Sequence[str] | None = None
    ) -> Json:
        """Where one is told of events beside the streams; None turns a way off. ``kinds`` left out: all."""
        body: Json = {"mail": mail, "webhook": webhook}
        return dict(self._put("/session/notifications", body if kinds is None else {**body, "kinds": list(kinds)}))

    def _again(self, path: str, headers: dict[str, str]) -> Iterator[Json]:
        """``_follow``, and again from where it broke off. A server that stays away is told after a while."""
        failures = 0
        while True:
            try:
                for event in self._follow(path, headers):
                    failures = 0
                    if event["id"]:
                        headers = {"Last-Event-ID": event["id"]}
                    yield event
            except Unavailable:
                failures += 1
                if failures >= REOPENED:
                    raise
            time.sleep(RECONNECT_SECONDS)


def server_sent(lines: Iterable[str]) -> Iterator[Json]:
    """Parse server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) whose data is JSON.

    Yields ``{"event", "id", "data"}``; comments and events without data are left out.
    """
    kind, identity, data = "message", "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield {"event": kind, "id": identity, "data": json.loads("\n".join(data))}
            kind, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "id":
            identity = value
        elif field == "data":
            data.append(value)
