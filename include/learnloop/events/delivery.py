"""Events that go elsewhere: by mail, by webhook. Each is sent at least once, or given up after a day of trying.

A webhook is a POST as https://www.standardwebhooks.com describes: its id stays the same when it is sent again, and its
signature is that of ``LEARNLOOP_WEBHOOK_SECRET``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import Event, EventDelivery, session

Sender = Callable[[Event, str], None]
"""Sends an event to an address, or raises what went wrong."""

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=2)
TRIES = 16
_TIMEOUT_SECONDS = 10


def deliver(senders: Mapping[str, Sender]) -> dict[str, int]:
    """Send what is due through ``senders`` (by channel); returns how many were sent and how many failed.

    Each is a transaction of its own: several processes share the work, and a killed one loses at most the note that it
    had sent one.
    """
    done = {"sent": 0, "failed": 0}
    while True:
        with session() as db:
            waiting = _next(db, list(senders))
            if waiting is None:
                return done
            try:
                senders[waiting.channel](waiting.event, waiting.address)
            except Exception as error:  # noqa: BLE001 - whatever a mail server or a stranger's host does
                done["failed"] += 1
                waiting.error = f"{type(error).__name__}: {error}"[:1000]
                waiting.tries += 1
                wait = min(FIRST_WAIT * 2 ** (waiting.tries - 1), LONGEST_WAIT)
                waiting.next_try_at = None if waiting.tries >= TRIES else func.now() + wait
            else:
                done["sent"] += 1
                waiting.tries += 1
                waiting.error, waiting.sent_at = "", func.now()


def post(event: Event, url: str, secret: str, *, client: httpx.Client | None = None) -> None:
    """POST ``event`` to ``url``, signed with ``secret``. Redirects are not followed: where they lead was not allowed.

    Raises:
        httpx.HTTPError: it did not answer, or with another status than 2xx.
    """
    body = json.dumps(payload(event)).encode()
    identity, moment = f"event-{event.id}", str(int(event.created_at.timestamp()))
    headers = {
        "content-type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": moment,
        "webhook-signature": signature(secret, identity, moment, body),
    }
    with client or httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False) as http:
        answer = http.post(url, content=body, headers=headers)
        if not answer.is_success:
            raise httpx.HTTPStatusError(f"answered {answer.status_code}", request=answer.request, response=answer)


def payload(event: Event) -> dict[str, Any]:
    """What a webhook gets, and what the stream's ``data`` is."""
    return {
        "type": f"run.{event.kind}",
        "timestamp": event.created_at.isoformat(),
        "data": {
            "id": event.id,
            "user": event.owner,
            "kind": event.kind,
            "text": event.text,
            "link": event.link or None,
            "dag_id": event.dag_id or None,
            "run_id": event.run_id or None,
        },
    }


def signature(secret: str, identity: str, timestamp: str, body: bytes) -> str:
    """``v1,`` and the base64 of HMAC-SHA256 over ``{id}.{timestamp}.{body}``."""
    digest = hmac.new(secret.encode(), b".".join((identity.encode(), timestamp.encode(), body)), hashlib.sha256)
    return f"v1,{base64.b64encode(digest.digest()).decode()}"


def _next(db: Session, channels: list[str]) -> EventDelivery | None:
    return db.scalars(
        select(EventDelivery)
        .where(
            EventDelivery.sent_at.is_(None),
            EventDelivery.next_try_at <= func.now(),
            EventDelivery.channel.in_(channels),
        )
        .order_by(EventDelivery.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
