"""``learnloop dataset workspace ...``: private checkouts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from learnloop.commands.arguments import Message, Version
from learnloop.commands.common import JsonOption, client, moment, progress_bar, say, show, size, table

app = typer.Typer(no_args_is_help=True, help="Your private checkouts.")


@app.command("list")
def list_workspaces(json: bool = JsonOption) -> None:
    """List your workspaces."""
    with client() as api:
        found = api.workspaces()
    rows = [(one["name"], one["base"], _state(one), size(one["bytes"]), one["path"]) for one in found]
    show(found, json, lambda: table(("workspace", "of", "state", "size", "path"), rows))


def _state(found: dict[str, Any]) -> str:
    if found["state"] != "expired":
        return str(found["state"])
    return f"expired: commit it before {moment(found['removed_at'])} UTC, when it is removed"


@app.command("create")
def create_workspace(
    version: Version,
    name: str,
    days: Annotated[
        float | None,
        typer.Option(help="It expires after so many days, and goes some days later."),
    ] = None,
    json: bool = JsonOption,
) -> None:
    """Make a private checkout of a version that you may change."""
    with client() as api, progress_bar("placing", json) as progress:
        made = api.create_workspace(version, name, days=days, progress=progress)
    show(made, json, lambda: say(made["path"]))


@app.command("changes")
def workspace_changes(name: str, json: bool = JsonOption) -> None:
    """Show what differs from the version it was made of."""
    with client() as api:
        found = api.workspace_changes(name)
    rows = [(kind, path) for kind in ("added", "changed", "removed") for path in found[kind]]
    show(found, json, lambda: table(("", "file"), rows) if rows else say("nothing has changed"))


@app.command("commit")
def commit_workspace(
    name: str,
    message: Message = "",
    token: Annotated[int | None, typer.Option(help="Of a write lock: makes a shared version.")] = None,
    json: bool = JsonOption,
) -> None:
    """Make a version of a workspace: personal to you, or shared with a write lock's token."""
    with client() as api:
        made = api.commit_workspace(name, message, token=token)
    show(made, json, lambda: say(f"{made['name']}: {made['files']} files, {size(made['bytes'])}"))


@app.command("discard")
def discard_workspace(name: str, json: bool = JsonOption) -> None:
    """Remove a workspace and its files. What was not committed is lost."""
    with client() as api:
        gone = api.discard_workspace(name)
    show({"discarded": gone}, json, lambda: say("discarded" if gone else "there was none of that name"))
