"""``learnloop backup ...`` and ``learnloop restore``: for operators, where the settings name databases and store."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from learnloop.commands.common import errors, moment, progress_bar, say, show, size, table
from learnloop.errors import LearnloopError
from learnloop.settings import settings

if TYPE_CHECKING:
    from learnloop.backup.contents import Head
    from learnloop.backup.place import Place

app = typer.Typer(
    invoke_without_command=True,
    help="Back everything up to LEARNLOOP_BACKUP_REMOTE; without a subcommand: take a backup. For operators.",
)
JsonOption = typer.Option(False, "--json", help="Print JSON.")
Name = Annotated[str, typer.Argument(help="A backup's name; without: the newest.")]


@app.callback()
def main(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        take(json=False)


@app.command()
def take(json: bool = JsonOption) -> None:
    """Take a backup of databases, store and models. It copies only what the place lacks."""
    from learnloop.backup.taking import take as take_backup

    with _telling(), progress_bar("copying", json) as progress:
        head = take_backup(settings(), _place(), owner=getpass.getuser(), progress=progress)
    show(asdict(head), json, lambda: _say_taken(head))
    if head.lacking:
        errors.print(
            f"[red]error:[/red] {head.lacking} things could not be had: `learnloop backup verify {head.name}` names"
            " them; `learnloop dataset verify --repair` may bring them back",
            soft_wrap=True,
        )
        raise typer.Exit(1)


@app.command("list")
def list_(json: bool = JsonOption) -> None:
    """List the complete backups, the newest first."""
    with _telling():
        place = _place()
        place.open(writing=False)
        heads = [place.head(name) for name in reversed(place.names())]
    rows = [(head.name, head.objects, size(head.size), size(head.new_bytes), _content(head)) for head in heads]
    headings = ("backup", "things", "size", "new", "holds")
    show([asdict(head) for head in heads], json, lambda: table(headings, rows))


@app.command()
def verify(
    name: Name = "",
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte.")] = False,
    json: bool = JsonOption,
) -> None:
    """Look whether a backup could be restored: all it needs is there, and with --deep every byte is as it was."""
    from learnloop.backup.checking import verify as verify_backup

    with _telling():
        place = _place()
        with progress_bar("reading", json) as progress:
            checked = verify_backup(place, name or _newest(place), _scratch(), deep=deep, progress=progress)
        if not json:
            checked.raise_if_wrong()
    word = "read" if deep else "there"
    show(asdict(checked), json, lambda: say(f"{checked.head.name}: all {checked.things} things are {word}"))
    if checked.problems:
        raise typer.Exit(1)


@app.command()
def prune(
    keep_daily: Annotated[int | None, typer.Option(help="Keep the newest of so many days.")] = None,
    keep_weekly: Annotated[int | None, typer.Option(help="Keep the newest of so many weeks.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    json: bool = JsonOption,
) -> None:
    """Remove old backups, and what only they needed. Without options the settings say how many are kept."""
    from learnloop.backup.retention import prune as prune_place
    from learnloop.backup.taking import only_one

    found = settings()
    daily = found.backup_keep_daily if keep_daily is None else keep_daily
    weekly = found.backup_keep_weekly if keep_weekly is None else keep_weekly
    with _telling(), only_one(found):
        done = prune_place(_place(), daily=daily, weekly=weekly, dry_run=dry_run)

    def human() -> None:
        table(("backup", "kept as"), list(done.kept.items()))
        would = "would be removed" if dry_run else "removed"
        say(f"{would}: {', '.join(done.removed) or 'no backup'}; {done.pieces} pieces that none needs")

    show(asdict(done), json, human)


@app.command()
def status(json: bool = JsonOption) -> None:
    """Say when the last backup succeeded, and what became of the last ones."""
    from learnloop.backup.opening import last_runs, last_success
    from learnloop.database import session

    with _telling(), session() as db:
        success, runs = last_success(db), last_runs(db, 10)
    rows = [
        (
            run.name,
            run.state,
            "" if run.new_bytes is None else size(run.new_bytes),
            "" if run.verified_at is None else "whole",
            run.error,
        )
        for run in runs
    ]
    headings = ("backup", "state", "new", "read back", "error")

    def human() -> None:
        say(f"last success: {success:%Y-%m-%d %H:%M:%S} UTC" if success else "no backup has succeeded yet")
        table(headings, rows)

    found = [dict(zip(headings, row, strict=True)) for row in rows]
    show({"last_success": success.isoformat() if success else None, "backups": found}, json, human)


@app.command()
def key(path: Path) -> None:
    """Make a key that backups are encrypted with. Keep a copy elsewhere: without it they cannot be read."""
    from learnloop.backup.sealing import make_key

    with _telling():
        make_key(path)
    say(f"{path}: set LEARNLOOP_BACKUP_KEY_FILE to it, and keep a copy where a fire here does not reach")


def restore(
    name: Name = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look whether it would work, and change nothing.")] = False,
    store_survived: Annotated[
        bool, typer.Option("--store-survived", help="The store and the models' folder are not empty: compare them.")
    ] = False,
    json: bool = JsonOption,
) -> None:
    """Restore a backup into empty databases and an empty store: all of it, or nothing. For operators.

    Where no database is named, the state directory's own PostgreSQL is started for it, as `make up` does.
    """
    from learnloop.backup.restoring import restore as restore_backup
    from learnloop.backup.standing import with_databases

    with _telling(), with_databases(settings()) as found, progress_bar("restoring", json) as progress:
        done = restore_backup(found, _place(), name, dry_run=dry_run, store_survived=store_survived, progress=progress)

    def human() -> None:
        head = done.head
        say(
            f"{'would restore' if dry_run else 'restored'} {head.name} of {moment(head.started_at)} UTC: {_content(head)}"
        )
        say(f"  databases: {', '.join(f'{one} ({head.revisions[one]})' for one in done.databases)}")
        say(f"  {done.objects} objects, {done.files} files, {size(done.bytes)}")
        for column, rows in done.relocated.items():
            say(f"  paths changed in {rows} rows of {column}")
        for note in head.notes:
            say(f"  {note}")
        for what, why in done.lacking.items():
            say(f"  lacking: {what}: {why}")
        if not dry_run:
            say("next: `make up` (or `airflow db migrate` and `learnloop init`), which migrates what is older")

    show(asdict(done), json, human)


def _place() -> Place:
    from learnloop.backup.opening import place_of

    return place_of(settings())


def _newest(place: Place) -> str:
    place.open(writing=False)
    names = place.names()
    if not names:
        raise LearnloopError(f"there is no complete backup at {place.remote.address}")
    return names[-1]


def _scratch() -> Path:
    return settings().store / "tmp"


def _content(head: Head) -> str:
    return ", ".join(f"{count} {name}" for name, count in head.counts.items())


def _say_taken(head: Head) -> None:
    say(f"{head.name}: {head.objects} things, {size(head.size)}, of them {size(head.new_bytes)} new; {_content(head)}")
    for note in head.notes:
        say(f"  {note}")


@contextmanager
def _telling() -> Iterator[None]:
    """An error of ours ends the command with its message and exit code 1."""
    try:
        yield
    except LearnloopError as error:
        errors.print(f"[red]error:[/red] {_plain(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error


def _plain(text: Any) -> str:
    return str(text).replace("[", "\\[")
