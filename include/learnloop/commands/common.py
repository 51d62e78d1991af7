"""What all commands share: who is logged in, how things are shown, how errors end a command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from learnloop.client import LearnloopClient
from learnloop.errors import LearnloopError, NotAuthenticated
from learnloop.settings import settings

JsonOption = typer.Option(False, "--json", help="Print the API's answer as JSON.")

shown = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def credentials_file() -> Path:
    """``$XDG_CONFIG_HOME/learnloop/credentials.json``: the token by server, for its owner's eyes only."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "learnloop" / "credentials.json"


def read_tokens() -> dict[str, str]:
    try:
        return dict(json.loads(credentials_file().read_text()))
    except FileNotFoundError:
        return {}


def write_tokens(tokens: dict[str, str]) -> None:
    """Replace the file by one with mode 0600, whole or not at all."""
    path = credentials_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(f".{os.getpid()}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(tokens, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def keep_token(token: str | None) -> None:
    """Remember who is logged in at this server; None: nobody."""
    tokens = read_tokens()
    tokens.pop(server(), None)
    write_tokens({**tokens, **({server(): token} if token else {})})


def server() -> str:
    """Where the API is: ``LEARNLOOP_API_URL``, else the stack of the state directory."""
    return settings().api_url


@contextmanager
def client() -> Iterator[LearnloopClient]:
    """The client of who is logged in; an error of ours ends the command with its message and exit code 1."""
    token = os.environ.get("LEARNLOOP_TOKEN") or read_tokens().get(server())
    try:
        if token is None:
            raise NotAuthenticated(f"nobody is logged in at {server()}: run `learnloop login`")
        with LearnloopClient(server(), token) as made:
            yield made
    except LearnloopError as error:
        hint = " (run `learnloop login` again)" if isinstance(error, NotAuthenticated) and token else ""
        errors.print(f"[red]error:[/red] {_plain(str(error))}{hint}", soft_wrap=True)
        raise typer.Exit(1) from error


@contextmanager
def progress_bar(text: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error, to be told (done, total); None when there is nobody to look at it."""
    if quiet or not errors.is_terminal:
        yield None
        return
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show(answer: Any, as_json: bool, human: Callable[[], None]) -> None:
    """Print ``answer`` as JSON, or what ``human`` prints."""
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        human()


def moment(text: str) -> str:
    """A time of the API's (UTC) to the second, as people write it."""
    return text[:19].replace("T", " ")


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    shown.print(table_of(headings, rows))


def table_of(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """The table that `table` prints."""
    made = Table(box=None, pad_edge=False)
    for heading in headings:
        # A time or a name that is broken over lines cannot be read, or copied; words can.
        made.add_column(heading, overflow="fold", no_wrap=heading in ("at", "until", "size", "backup"))
    for row in rows:
        made.add_row(*("" if cell is None else _plain(str(cell)) for cell in row))
    return made


def say(text: str) -> None:
    shown.print(_plain(text), soft_wrap=True)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _plain(text: str) -> str:
    """Text that rich shall not read as markup."""
    return text.replace("[", "\\[")
