"""Return what lapsed. Fast paths release what they hold; this is the guarantee for those that did not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Delete, delete, func
from sqlalchemy.orm import Session

from learnloop import audit
from learnloop.annotation.queue import release_lapsed as release_tasks
from learnloop.capacity import reservations
from learnloop.database import IdempotentRequest, LiveReading, LiveWindow, ModelLease
from learnloop.datasets.locks import release_expired
from learnloop.events import log, progress, usage
from learnloop.limits import forget_idle
from learnloop.people.tokens import forget_expired

KEEP_ANSWERS = timedelta(days=1)
KEEP_WINDOWS = timedelta(days=90)
KEEP_USAGE_DAYS = 90


def release_lapsed(session: Session, *, audit_days: int) -> dict[str, int]:
    """Return lapsed annotation leases to the queue; delete lapsed locks, places in line, model leases, answers, events
    of the audit log that are older than ``audit_days``, what people were told long ago, and what jobs used then.
    """
    leases = _delete(session, delete(ModelLease).where(ModelLease.expires_at < func.now()))
    forgotten = _delete(
        session, delete(IdempotentRequest).where(IdempotentRequest.created_at < func.now() - KEEP_ANSWERS)
    )
    _delete(session, delete(LiveReading).where(LiveReading.read_at < func.now() - KEEP_WINDOWS))
    windows = _delete(session, delete(LiveWindow).where(LiveWindow.started_at < func.now() - KEEP_WINDOWS))
    forget_idle(session)
    forget_expired(session)
    return {
        "annotation leases": release_tasks(session),
        **release_expired(session),
        "model leases": leases,
        "remembered answers": forgotten,
        "live windows": windows,
        "audit events": audit.forget(session, audit_days),
        "events": log.forget(session),
        "reservations": reservations.forget(session),
        "progress": progress.forget(session, log.KEPT_DAYS),
        "job usage": usage.forget(session, KEEP_USAGE_DAYS),
    }


def _delete(session: Session, statement: Delete) -> int:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount
