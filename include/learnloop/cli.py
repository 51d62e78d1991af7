"""``learnloop``: the command line. Thin over the HTTP API; who you are is Airflow's to say."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop import __version__
from learnloop.client import LearnloopClient
from learnloop.commands import dataset
from learnloop.commands.common import client, errors, read_tokens, say, server, write_tokens
from learnloop.errors import LearnloopError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Learnloop: datasets as versions, annotation, models. The server is LEARNLOOP_API_URL, else this stack's.",
)
app.add_typer(dataset.app, name="dataset")


@app.command()
def login(
    user: Annotated[str, typer.Option(prompt=True, help="A user of Airflow's.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="LEARNLOOP_PASSWORD")],
) -> None:
    """Log in; the token is kept in ~/.config/learnloop/credentials.json, which only you can read."""
    try:
        with LearnloopClient.login(server(), user, password) as made:
            who = made.session()
            write_tokens({**read_tokens(), server(): made.token or ""})
    except LearnloopError as error:
        errors.print(f"[red]error:[/red] {error}", soft_wrap=True)
        raise typer.Exit(1) from error
    say(f"logged in at {server()} as {who.name} ({', '.join(who.roles)})")


@app.command()
def logout() -> None:
    """Have the token revoked, and forget it."""
    with client() as api:
        api.logout()
    tokens = read_tokens()
    tokens.pop(server(), None)
    write_tokens(tokens)
    say("logged out")


@app.command()
def whoami() -> None:
    """Say who is logged in, and what they may do."""
    with client() as api:
        who = api.session()
    say(f"{who.name} at {server()}; roles: {', '.join(who.roles)}; may: {', '.join(who.permissions)}")


@app.command()
def version() -> None:
    """Print Learnloop's version."""
    say(__version__)


if __name__ == "__main__":
    app()
