"""``learnloop dataset merges``, ``cancel``: merge requests as a list, and given up."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.commands.arguments import Dataset
from learnloop.commands.common import JsonOption, client, moment, say, show, table


def merges(
    dataset: Dataset,
    state: Annotated[str, typer.Option(help="open, merged, cancelled or all.")] = "open",
    json: bool = JsonOption,
) -> None:
    """List a dataset's merge requests, newest first."""
    with client() as api:
        found = api.merges(dataset, state=state)
    rows = [
        (
            one["id"],
            one["state"],
            one["theirs"],
            one["version"],
            one["owner"],
            moment(one["created_at"]),
            one["message"],
        )
        for one in found
    ]
    show(found, json, lambda: table(("id", "state", "merges", "into", "by", "at", "message"), rows))


def cancel(merge_id: int, json: bool = JsonOption) -> None:
    """Give an open merge request up. Nothing of either version changes."""
    with client() as api:
        done = api.cancel_merge(merge_id)
    show(done, json, lambda: say(f"merge {done['id']} of {done['theirs']} is {done['state']}"))
