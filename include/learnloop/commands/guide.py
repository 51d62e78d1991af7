"""``learnloop guide``: what annotators of a dataset are told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from learnloop.commands.arguments import Dataset
from learnloop.commands.common import JsonOption, client, moment, say, show, table
from learnloop.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="What annotators of a dataset are told: instructions, colours, keys.")


@app.command(name="show")
def show_guide(dataset: Dataset, as_json: bool = JsonOption) -> None:
    """The instructions, and what was chosen for each class."""
    with client() as api:
        found = api.guide(dataset)
    show(found, as_json, lambda: _show(found))


@app.command()
def write(
    dataset: Dataset,
    instructions: Annotated[Path | None, typer.Argument(help="A file in Markdown. Left out: they stay.")] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=#RRGGBB[,KEY]", help="A class's colour and key, or LABEL= for none; again for more."
        ),
    ] = None,
    as_json: bool = JsonOption,
) -> None:
    """Replace the instructions, and the style of the classes that are named. Refused if somebody does so meanwhile."""
    with client() as api:
        wanted = dict(_style(given) for given in style or [])
        seen = api.guide(dataset)
        words = seen["instructions"] if instructions is None else _read(instructions)
        classes = {each["label"]: {"color": each["color"], "key": each["key"]} for each in seen["classes"]} | wanted
        made = api.write_guide(dataset, instructions=words, classes=classes, if_match=seen["etag"])
    show(made, as_json, lambda: _show(made))


def _style(given: str) -> tuple[str, dict[str, str | None]]:
    label, equals, rest = given.rpartition("=")
    if not equals or not label:
        raise InvalidInput(f"--style {given!r} must be such as cat=#1f77b4,C or cat=#1f77b4")
    color, _, key = rest.partition(",")
    return label, {"color": color or None, "key": key.upper() or None}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read as a text in UTF-8: {error}") from error


def _show(found: dict[str, Any]) -> None:
    say(found["instructions"].strip() or "no instructions yet")
    table(("class", "colour", "key"), [(each["label"], each["color"], each["key"]) for each in found["classes"]])
    if found["updated_by"] is not None:
        say(f"written by {found['updated_by']}, {moment(found['updated_at'])}")
