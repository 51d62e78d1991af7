"""``learnloop task``: what waits for an answer."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.commands.arguments import Dataset
from learnloop.commands.common import JsonOption, client, moment, show, table

app = typer.Typer(no_args_is_help=True, help="What waits for an answer. People answer on the page, /annotate.")


@app.command(name="list")
def list_tasks(
    dataset: Dataset,
    state: Annotated[
        str,
        typer.Option(
            help="open, or what you skipped (skipped); a reviewer: claimed, answered, review, confirmed, rejected."
        ),
    ] = "open",
    label: Annotated[str | None, typer.Option(help="Only those that the model predicts this label for.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only those of this batch.")] = None,
    least: Annotated[float, typer.Option(min=0, max=1, help="Only if the model's confidence is at least this.")] = 0.0,
    most: Annotated[float, typer.Option(min=0, max=1, help="Only if the model's confidence is at most this.")] = 1.0,
    since: Annotated[str | None, typer.Option(help="Only what came since: 2026-05-01T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Only what came until then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    as_json: bool = JsonOption,
) -> None:
    """Tasks by what the model predicts, how sure it is, their batch and their age."""
    with client() as api:
        found = api.tasks(
            dataset,
            state=state,
            label=label,
            batch=batch,
            least=least,
            most=most,
            since=since,
            until=until,
            limit=limit,
        )
    headings = ("task", "at", "sample", "batch", "model says", "confidence", "chosen by", "skipped because")
    rows = [
        [
            row["id"],
            moment(row["created_at"] or ""),
            row["sample_id"],
            row["batch"],
            row["label"],
            None if row["confidence"] is None else f"{row['confidence']:.2f}",
            row["strategy"],
            row["skip_reason"],
        ]
        for row in found
    ]
    show(found, as_json, lambda: table(headings, rows))


@app.command()
def answers(
    dataset: Dataset,
    outcome: Annotated[str | None, typer.Option(help="Only those that were confirmed, or rejected.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    as_json: bool = JsonOption,
) -> None:
    """What became of your own answers, and why some were rejected. Told in steps, and not of all that were confirmed."""
    with client() as api:
        found = api.my_answers(dataset, outcome=outcome, limit=limit)
    names = ("sample_id", "label", "outcome", "instead", "reason")
    rows = [[moment(row["created_at"]), *(row[name] for name in names)] for row in found]
    show(found, as_json, lambda: table(("at", "sample", "you said", "outcome", "confirmed as", "because"), rows))
