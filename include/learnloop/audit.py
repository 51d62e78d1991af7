"""The audit log: written for every login, refusal and change; read by who may; forgotten after a while."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Select, delete, event, exists, func, select, text, update
from sqlalchemy.orm import Session

from learnloop.database import AuditEvent, session

LOGIN = "login"
_LONGEST_RESOURCE = 500
# Written with every change: plain, not as an object.
_INSERT = """
    INSERT INTO audit_events (owner, action, resource, outcome, status, address, request_id)
    VALUES (:owner, :action, :resource, :outcome, :status, :address, :request_id)
"""
_KEEP, _KEEP_AND_TELL = text(_INSERT), text(f"{_INSERT} RETURNING id")
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass
class Entry:
    """One request as the log will have it. Filled in by whoever knows: the caller's name, the route, the outcome."""

    resource: str
    address: str
    request_id: str
    action: str = ""
    user: str = ""
    outcome: str | None = None  # told before the status is known to say it: by work that goes on after the answer began
    status: int = 0
    kept: int | None = None
    """The status with which `write_with` put it into the log, once that is committed."""
    _id: int | None = None
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def write_with(self, db: Session, status: int) -> None:
        """Put it into the log in the transaction of what it tells of: both are kept, or neither is."""
        db.execute(_KEEP, self._values(outcome_of(status), status))
        event.listen(db, "after_commit", lambda _: setattr(self, "kept", status), once=True)

    def write(self, *, unfinished: bool = False) -> None:
        """Put it into the log. With ``unfinished``, `finish` says the outcome, before this or later."""
        with self._writing:
            outcome = self.outcome or ("started" if unfinished else outcome_of(self.status))
            with session() as db:
                self._id = db.execute(_KEEP_AND_TELL, self._values(outcome, self.status)).scalar_one()

    def _values(self, outcome: str, status: int) -> dict[str, Any]:
        return {
            "owner": _shown(self.user, 250),
            "action": _shown(self.action, 200),
            "resource": _shown(self.resource, _LONGEST_RESOURCE),
            "outcome": outcome,
            "status": status,
            "address": _shown(self.address, 64),
            "request_id": self.request_id,
        }

    def finish(self, outcome: str) -> None:
        """Say what came of work that went on after the answer began."""
        with self._writing:
            self.outcome = outcome
            if self._id is not None:
                with session() as db:
                    db.execute(update(AuditEvent).where(AuditEvent.id == self._id).values(outcome=outcome))


def outcome_of(status: int) -> str:
    """What an HTTP status says of a request."""
    if status < 400:
        return "ok"
    return "refused" if status in (401, 403) else "failed"


def events(*, user: str | None = None, action: str | None = None, since: datetime | None = None) -> Select[Any]:
    """The events that match all that is given."""
    wanted = select(AuditEvent)
    if user is not None:
        wanted = wanted.where(AuditEvent.owner == user)
    if action is not None:
        wanted = wanted.where(AuditEvent.action == action)
    if since is not None:
        wanted = wanted.where(AuditEvent.created_at >= since)
    return wanted


def has_logged_in(db: Session, name: str) -> bool:
    """Whether somebody of that name ever logged in, as far as the log goes back."""
    found = exists().where(AuditEvent.owner == name, AuditEvent.action == LOGIN, AuditEvent.outcome == "ok")
    return bool(db.scalar(select(found)))


def forget(db: Session, days: int) -> int:
    """Delete events that are older than ``days``; returns how many."""
    old = AuditEvent.created_at < func.now() - func.make_interval(0, 0, 0, days)
    return cast("CursorResult[Any]", db.execute(delete(AuditEvent).where(old))).rowcount


def _shown(chosen: str, longest: int) -> str:
    """Text that a caller chose, as one line that the database takes and a terminal shows."""
    return _UNSHOWN.sub("?", chosen)[:longest]
