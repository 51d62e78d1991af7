"""Where a person wants to be told of events, beside the stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import NotificationSettings
from learnloop.errors import InvalidInput
from learnloop.events.log import KINDS

_MAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,8}", re.ASCII)
EVERYTHING = tuple(KINDS)


def choose(
    db: Session, owner: str, *, mail: str | None, webhook: str | None, kinds: Sequence[str], webhook_hosts: str
) -> NotificationSettings:
    """Set where ``owner`` is told of ``kinds``; events from now on go there.

    Args:
        webhook_hosts: the hosts that webhooks may go to, separated by commas; a host alone is its port 443.

    Raises:
        InvalidInput: no address, a host that is not allowed, or kinds that do not exist.
    """
    problems = []
    if mail is not None and not _MAIL.fullmatch(mail):
        problems.append(f"mail: {mail!r} is no address such as ana@example.org")
    if webhook is not None and (refused := _refused(webhook, webhook_hosts)):
        problems.append(f"webhook: {refused}")
    problems += [f"kinds: {kind!r} is none of {', '.join(KINDS)}" for kind in kinds if kind not in KINDS]
    if problems:
        raise InvalidInput("nothing was changed", problems)
    values = {"mail": mail, "webhook": webhook, "kinds": {kind: True for kind in KINDS if kind in kinds}}
    row = insert(NotificationSettings).values(owner=owner, **values)
    db.execute(row.on_conflict_do_update(index_elements=["owner"], set_=values))
    return chosen(db, owner)


def chosen(db: Session, owner: str) -> NotificationSettings:
    """What ``owner`` chose; nothing but the stream when they never did."""
    found = db.get(NotificationSettings, owner, populate_existing=True)
    return found or NotificationSettings(owner=owner, mail=None, webhook=None, kinds=dict.fromkeys(EVERYTHING, True))


def _refused(url: str, hosts: str) -> str | None:
    """Why the server may not be made to call ``url``: it can reach what the person who gave it cannot."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"{url!r} is no URL ({error})"
    allowed = [host.strip() for host in hosts.split(",") if host.strip()]
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return f"{url!r} is no http or https URL without a user name"
    named = f"{parts.hostname}:{port}" if port else parts.hostname
    if named not in allowed:
        return f"{named} is not among the hosts that LEARNLOOP_WEBHOOK_HOSTS allows ({', '.join(allowed) or 'none'})"
    return None
