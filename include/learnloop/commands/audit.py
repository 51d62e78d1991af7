"""``learnloop audit``: who did what."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from learnloop.commands.common import JsonOption, client, show, table

_AGO = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def show_events(
    user: Annotated[str | None, typer.Option(help="Only what this user did.")] = None,
    action: Annotated[str | None, typer.Option(help="Such as login, or 'POST /merges'.")] = None,
    since: Annotated[str | None, typer.Option(help="30m, 12h, 7d ago, or an ISO time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    as_json: bool = JsonOption,
) -> None:
    """Who did what, when, from where, and what came of it. Needs the right audit:read."""
    start = None if since is None else _time(since)
    with client() as api:
        events = api.audit(user=user, action=action, since=start, limit=limit)
    headings = ("at", "user", "action", "resource", "outcome", "address", "request_id")
    rows = [[event[heading] for heading in headings] for event in events]
    show(events, as_json, lambda: table([heading.replace("_", " ") for heading in headings], rows))


def _time(text: str) -> str:
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return (datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()
    try:
        made = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither like 12h or 7d nor an ISO time such as 2026-05-01") from error
    return made.astimezone(UTC).isoformat()
