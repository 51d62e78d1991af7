"""``learnloop loop``: where a dataset is in the seven steps."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.commands.common import JsonOption, client, say, show, table


def show_loop(
    dataset: Annotated[str, typer.Argument(help="A dataset, such as digits.")], as_json: bool = JsonOption
) -> None:
    """The seven steps of a dataset's loop, and what waits for a person."""
    with client() as api:
        found = api.loop(dataset)
    marks = {"now": "*", "done": "x", "ahead": ""}
    rows = [[marks[step["state"]], step["number"], step["name"], step["said"]] for step in found["steps"]]
    show(found, as_json, lambda: table(("", "step", "", ""), rows))
    if not as_json:
        for need in found["needs"]:
            say(f"waits for a person: {need['said']}")
