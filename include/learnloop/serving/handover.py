"""What a pod noted of live requests, given to the platform, which reads it through the API server: pods have no database.

A part is numbered, and is given again until its reader says that it has it: so it is counted once, whoever dies in between.
Who reads proves it by a token, of which the pod knows the SHA-256 alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import threading
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from learnloop.errors import PermissionDenied
from learnloop.serving.bodies import json_answer
from learnloop.serving.noting import Noted, Notes

if TYPE_CHECKING:
    from starlette.requests import Request

    from learnloop.serving.metrics import Metrics

PATH = "/api/live"
HEADER = "X-Learnloop-Reader"
"""The token's. Not Authorization: that one is the API server's own, and goes no further than there."""
PART_BYTES = 4 * 2**20
"""Samples of one part."""


class Handover:
    """The parts of ``notes``.

    Args:
        reader: the SHA-256 of the token of who may read, in hexadecimal.
    """

    def __init__(self, notes: Notes, metrics: Metrics, reader: str) -> None:
        self._notes = notes
        self._metrics = metrics
        self._reader = reader
        self._lock = threading.Lock()
        self._number = 0
        self._given: Noted | None = None
        self.instance = uuid.uuid4().hex
        """Of this process: one that is started again counts parts anew."""

    @property
    def routes(self) -> list[Route]:
        return [Route(PATH, self.answer)]

    async def answer(self, request: Request) -> Response:
        """``?instance=...&after=N``: the part after number N of that instance.

        Raises:
            PermissionDenied: it is not the reader who asks.
        """
        token = request.headers.get(HEADER, "")
        if not hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), self._reader):
            raise PermissionDenied("what was noted of live requests is given to the platform only")
        asked = request.query_params
        known = asked.get("after", "0") if asked.get("instance") == self.instance else "0"
        return json_answer(await asyncio.to_thread(self.part, int(known) if known.isdecimal() else 0))

    def part(self, after: int) -> dict[str, Any]:
        """The part that follows ``after``, which the reader has; one without rows and samples when nothing was noted."""
        with self._lock:
            if self._given is not None and after >= self._number:
                for (key, _), window in self._given.windows.items():
                    self._metrics.recorded(key[0], window.rows)
                self._given = None
            if self._given is None and (noted := self._notes.take(PART_BYTES)):
                self._given = noted
                self._number += 1
            return {"instance": self.instance, "number": self._number, **_written(self._given or Noted())}

    @property
    def left(self) -> tuple[int, int]:
        """How many rows, and how many samples, nobody has read."""
        with self._lock:
            given = self._given or Noted()
            rows, samples = self._notes.left
            return rows + sum(window.rows for window in given.windows.values()), samples + len(given.samples)


def _written(noted: Noted) -> dict[str, Any]:
    return {
        "windows": [
            {"hour": hour.isoformat(), "rows": window.rows, "counts": window.counts}
            for (_, hour), window in noted.windows.items()
        ],
        "samples": [
            {"confidence": sample.confidence, "data": base64.b64encode(sample.data).decode()}
            for sample in noted.samples.values()
        ],
    }
