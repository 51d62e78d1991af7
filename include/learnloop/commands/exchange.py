"""``learnloop annotations``: tasks in from, and labels out to, other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from learnloop.commands.arguments import Dataset
from learnloop.commands.common import JsonOption, client, progress_bar, say, show, size

app = typer.Typer(no_args_is_help=True, help="Exchange tasks and labels with Label Studio, and as CSV and Parquet.")

ENDINGS = {"label-studio": "json", "label-studio-config": "xml", "csv": "csv", "parquet": "parquet"}
IMPORTED = ("label-studio", "csv", "parquet")


@app.command(name="export")
def export_annotations(
    dataset: Dataset,
    form: Annotated[
        str, typer.Option("--format", help="label-studio, label-studio-config, csv or parquet.")
    ] = "label-studio",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="By default DATASET.json, and so on.")] = None,
    superseded: Annotated[bool, typer.Option("--superseded", help="Labels that a later one replaced, too.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Write the confirmed labels to a file, with who gave them and why they count. Needs annotation:export."""
    if form not in ENDINGS:
        raise typer.BadParameter(f"{form!r} is none of {', '.join(ENDINGS)}", param_hint="--format")
    target = output or Path(f"{dataset}.{ENDINGS[form]}")
    if not target.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {target.parent}", param_hint="--output")
    with client() as api:
        count = api.export_annotations(dataset, target, format=form, superseded=superseded)
    show({"path": str(target), "bytes": count}, as_json, lambda: say(f"{target}: {size(count)}"))


@app.command(name="import")
def import_tasks(
    dataset: Dataset,
    file: Annotated[Path, typer.Argument(help="A file on the server's machine; with --upload, on this one.")],
    batch: Annotated[str, typer.Option(help="The batch whose samples it names.")],
    form: Annotated[
        str | None, typer.Option("--format", help="label-studio, csv or parquet; by default by the file's name.")
    ] = None,
    ignore_annotations: Annotated[
        bool, typer.Option("--ignore-annotations", help="Pass over answers that the file has.")
    ] = False,
    upload: Annotated[bool, typer.Option("--upload", help="Send the file to the server.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Make annotation tasks of a file, with its predictions: all of it or nothing; again changes nothing."""
    with client() as api, progress_bar("import", as_json) as progress:
        if upload:
            content, form = _read(file), form or _format_of(file)
            done = api.upload_tasks(
                dataset,
                content,
                batch,
                format=form,
                ignore_annotations=ignore_annotations,
                filename=file.name,
                progress=progress,
            )
        else:
            done = api.import_tasks(
                dataset,
                str(file.absolute()),
                batch,
                format=form,
                ignore_annotations=ignore_annotations,
                progress=progress,
            )
    show(done, as_json, lambda: say(_told(done)))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="FILE") from error


def _format_of(file: Path) -> str:
    ending = file.suffix.lower().removeprefix(".")
    found = next((form for form in IMPORTED if ENDINGS[form] == ending), None)
    if found is None:
        raise typer.BadParameter(f"say which {file.name} is: {', '.join(IMPORTED)}", param_hint="--format")
    return found


def _told(done: dict[str, Any]) -> str:
    left = f"{done['left']} left alone (somebody works on them, or they are labelled)"
    if done["left_rows"]:
        more = ", ..." if done["left"] > len(done["left_rows"]) else ""
        left += f": {', '.join(done['left_rows'])}{more}"
    return (
        f"{done['rows']} rows: {done['created']} new tasks, {done['updated']} with another prediction or priority,"
        f" {done['unchanged']} as they were, {left}"
    )
