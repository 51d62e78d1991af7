"""Arguments that several commands take, with what the tab key offers for them."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.commands.common import client


def version_names(incomplete: str) -> list[str]:
    """Names for tab completion; none when nobody is logged in or nothing answers."""
    try:
        with client() as api:
            return [
                version["name"]
                for dataset in api.datasets()
                if incomplete.startswith(dataset.name[: len(incomplete)]) or dataset.name.startswith(incomplete)
                for version in api.versions(dataset.name)
                if version["name"].startswith(incomplete)
            ]
    except typer.Exit:
        return []


def dataset_names(incomplete: str) -> list[str]:
    try:
        with client() as api:
            return [dataset.name for dataset in api.datasets() if dataset.name.startswith(incomplete)]
    except typer.Exit:
        return []


Version = Annotated[str, typer.Argument(help="A version's name, such as digits_v1.2.", autocompletion=version_names)]
Dataset = Annotated[str, typer.Argument(help="A dataset's name.", autocompletion=dataset_names)]
Some = Annotated[list[str] | None, typer.Argument(help="Versions; none: all.", autocompletion=version_names)]
Message = Annotated[str, typer.Option("--message", "-m", help="What the history says.")]
