"""The parts of a job's work and when they were done, in ``phases.jsonl``: what its trace shows below the job.

A job sends nothing: it may have no network, and the variables that name a receiver may hold a secret. Its runner reads the
file at the end. Only a job with ``TRACEPARENT`` in its environment writes it. Code in another language may too: a line
``{"id": 16 hex digits, "parent": of the phase or job that this is part of, "phase": name, "at": nanoseconds since 1970}`` at
the beginning, and ``{"id": ..., "at": ..., "error": null or text}`` at the end. Or it sends spans of its own below
``TRACEPARENT``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.traces.context import VARIABLE, new_span_id, parse

PHASES = "phases.jsonl"
MOST = 1000
"""So many lines are read."""
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Phase:
    """``ended`` is None for one that was under way when the job ended. Times are nanoseconds since 1970."""

    id: str
    parent: str
    name: str
    begun: int
    ended: int | None = None
    error: str | None = None


@contextmanager
def phase(results: Path, name: str) -> Iterator[None]:
    """The block is one phase. What it calls finds it in ``TRACEPARENT``. Does nothing in a job that is not traced."""
    above = parse(os.environ.get(VARIABLE, ""))
    if above is None or not above.sampled:
        yield
        return
    own = new_span_id()
    _write(results, {"id": own, "parent": above.span_id, "phase": name, "at": time.time_ns()})
    os.environ[VARIABLE] = str(above.child(own))
    error: str | None = None
    try:
        yield
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"[:1000]
        raise
    finally:
        os.environ[VARIABLE] = str(above)
        _write(results, {"id": own, "at": time.time_ns(), "error": error})


def read_phases(results: Path, job: str) -> list[Phase]:
    """The phases of the job whose span is ``job``, and theirs; lines that are no phases are passed over."""
    found: dict[str, Phase] = {}
    for line in _lines(results / PHASES):
        try:
            told = json.loads(line)
            began = "phase" in told
            one = _begun(told) if began else _ended(told, found)
        except (ValueError, KeyError, TypeError):
            continue  # the job wrote it, or somebody else: it is of no use, and does no harm
        if not began or one.parent == job or one.parent in found:
            found[one.id] = one
    return list(found.values())


def _begun(told: dict[str, Any]) -> Phase:
    id_, parent, name, at = told["id"], told["parent"], told["phase"], told["at"]
    if not (_is_id(id_) and _is_id(parent) and isinstance(name, str) and isinstance(at, int) and at > 0):
        raise ValueError(told)
    return Phase(id_, parent, name[:250], at)


def _ended(told: dict[str, Any], found: dict[str, Phase]) -> Phase:
    one, at, error = found[told["id"]], told["at"], told.get("error")
    if not (isinstance(at, int) and at >= one.begun):
        raise ValueError(told)
    return Phase(one.id, one.parent, one.name, one.begun, at, None if error is None else str(error)[:1000])


def _is_id(text: object) -> bool:
    return isinstance(text, str) and len(text) == 16 and parse(f"00-{'1' * 32}-{text}-01") is not None


def _lines(path: Path) -> list[bytes]:
    try:
        # A job may write there: a link could lead to what is not the job's.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(_LONGEST).splitlines()[:MOST]
    except OSError:
        return []  # there is none


def _write(results: Path, line: dict[str, Any]) -> None:
    with (results / PHASES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
