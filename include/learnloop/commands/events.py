"""``learnloop events``: what you were told, and where else you want to hear of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from learnloop.commands.common import JsonOption, client, moment, say, show, table

HEADINGS = ("at", "kind", "text")


def show_events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as things happen.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: bool = JsonOption,
) -> None:
    """What you were told: a run began, waits for your answer, finished, failed."""
    with client() as api:
        events = api.events(limit)
        if not follow:
            show(events, as_json, lambda: table(HEADINGS, [_row(event) for event in events]))
            return
        for event in reversed(events):
            _print(event, as_json)
        for event in api.follow_events(events[0]["id"] if events else None):
            _print(event, as_json)


def notifications(
    mail: Annotated[str | None, typer.Option(help="Send mail there; '' for none.")] = None,
    webhook: Annotated[str | None, typer.Option(help="POST there; '' for none.")] = None,
    kinds: Annotated[str | None, typer.Option(help="Of which kinds, such as failed,needs_answer.")] = None,
    as_json: bool = JsonOption,
) -> None:
    """Where you are told of events beside `learnloop events`; without options, shows it."""
    with client() as api:
        chosen = api.notifications()
        if (mail, webhook, kinds) != (None, None, None):
            chosen = api.set_notifications(
                mail=chosen["mail"] if mail is None else mail or None,
                webhook=chosen["webhook"] if webhook is None else webhook or None,
                kinds=chosen["kinds"] if kinds is None else [kind.strip() for kind in kinds.split(",") if kind.strip()],
            )
    show(chosen, as_json, lambda: _say(chosen))


def _say(chosen: dict[str, Any]) -> None:
    say(f"mail: {chosen['mail'] or 'none'}")
    say(f"webhook: {chosen['webhook'] or 'none'}")
    say(f"kinds: {', '.join(chosen['kinds']) or 'none'}")


def _row(event: dict[str, Any]) -> list[str]:
    return [moment(event["at"]), event["kind"].replace("_", " "), event["text"]]


def _print(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(event, ensure_ascii=False), flush=True)
    else:
        say("  ".join(_row(event)))
