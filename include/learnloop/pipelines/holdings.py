"""What a pipeline holds beyond its runs, and how it is given back.

A kind is a function that gives back all that a pipeline holds of it, and says how many. What belongs to people (results and
models, `user` mounts) is no kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from sqlalchemy import CursorResult, delete
from sqlalchemy.orm import Session

from learnloop.database import Lock, Pipeline

Release = Callable[[Session, Pipeline], int]


def _read_leases(session: Session, pipeline: Pipeline) -> int:
    """Of runs that ended without their teardown: they would lapse by themselves, in days."""
    of = Lock.purpose.startswith(f"pipeline {pipeline.name}, run ", autoescape=True)
    done = session.execute(delete(Lock).where(Lock.mode == "read", of))
    return cast("CursorResult[object]", done).rowcount


KINDS: dict[str, Release] = {"read_leases": _read_leases}
"""What our database holds for it. Its mounts, which are no rows, are given back beside these (`mounts.home`)."""


def release(session: Session, pipeline: Pipeline) -> dict[str, int]:
    """Give back all that ``pipeline`` holds; how many of each kind. No run of it may be under way."""
    return {kind: give_back(session, pipeline) for kind, give_back in KINDS.items()}
