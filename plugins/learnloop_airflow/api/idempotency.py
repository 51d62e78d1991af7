"""``Idempotency-Key``: the same request by the same caller is done once, and answered the same again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import JSONResponse
from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.orm import Session

from learnloop.database import IdempotentRequest
from learnloop.errors import InvalidInput
from learnloop.permissions import Principal
from learnloop_airflow.api import audited

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


_row = IdempotentRequest.__table__.c
_FOUND = select(_row.request, _row.status, _row.response).where(
    _row.owner == bindparam("owner"), _row.key == bindparam("key")
)
_KEEP = insert(IdempotentRequest.__table__)


class Said(JSONResponse):
    """An answer, with what it says for who adds to it."""

    def __init__(self, content: Any, status_code: int) -> None:
        super().__init__(content, status_code)
        self.content = content


def once(
    session: Session,
    caller: Principal,
    key: str | None,
    request: str,
    body: dict[str, Any],
    do: Callable[[], Any],
    status: int,
) -> Said:
    """Run ``do`` and remember its answer under ``key``, in one transaction with what it did.

    Raises:
        InvalidInput: the key was used for a different request.
    """
    if key is None:
        audited.write_with(session, status)  # first: what is done may hold locks until the transaction ends
        return Said(do(), status)
    fingerprint = f"{request} {hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()}"
    # Two copies of one request that arrive together take turns; the second finds the first one's answer.
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"{caller.name} {key}"})
    found = session.execute(_FOUND, {"owner": caller.name, "key": key}).one_or_none()
    if found is not None:
        if found.request != fingerprint:
            raise InvalidInput("this Idempotency-Key was used for a different request; use a new one for each")
        return _audited(session, found.response, found.status)
    answer = do()
    kept = {"owner": caller.name, "key": key, "request": fingerprint, "status": status, "response": answer}
    session.execute(_KEEP, kept)
    return _audited(session, answer, status)


def _audited(session: Session, answer: Any, status: int) -> Said:
    audited.write_with(session, status)
    return Said(answer, status)
