"""What of our rows a pipeline holds beyond its runs, and how it is given back.

Its mounts are no rows: `learnloop_airflow.mounts.home` gives them back. What belongs to people (results and models, `user`
mounts) stays.
"""

from __future__ import annotations

from typing import cast

from sqlalchemy import CursorResult, delete
from sqlalchemy.orm import Session

from learnloop.database import Lock, Pipeline


def release(session: Session, pipeline: Pipeline) -> dict[str, int]:
    """Give back all that ``pipeline`` holds; how many of each kind. No run of it may be under way.

    Read leases are those of runs that ended without their teardown: they would lapse by themselves, in days.
    """
    of = Lock.purpose.startswith(f"pipeline {pipeline.name}, run ", autoescape=True)
    done = session.execute(delete(Lock).where(Lock.mode == "read", of))
    return {"read_leases": cast("CursorResult[object]", done).rowcount}
