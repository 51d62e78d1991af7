"""``learnloop``: the command line. Thin over the HTTP API; who you are is Airflow's to say."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from learnloop import __version__
from learnloop.client import LearnloopClient
from learnloop.commands import (
    audit,
    backup,
    dataset,
    events,
    exchange,
    guide,
    init,
    loop,
    model,
    pipeline,
    queue,
    review,
    run,
    task,
    user,
)
from learnloop.commands.common import client, errors, keep_token, say, server
from learnloop.errors import LearnloopError, NotAuthenticated

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Learnloop: datasets as versions, annotation, models. The server is LEARNLOOP_API_URL, else this stack's.",
)
app.add_typer(dataset.app, name="dataset")
app.add_typer(exchange.app, name="annotations")
app.add_typer(review.app, name="review")
app.add_typer(task.app, name="task")
app.add_typer(guide.app, name="guide")
app.add_typer(model.app, name="model")
app.add_typer(user.app, name="user")
app.add_typer(run.app, name="run")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(backup.app, name="backup")


@app.command()
def login(
    name: Annotated[str, typer.Option("--user", prompt="User", help="A user of Airflow's.")],
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
) -> None:
    """Log in; the token is kept in ~/.config/learnloop/credentials.json, which only you can read.

    The password is asked for, or read from standard input: as an argument everybody on the machine could see it.
    """
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else typer.prompt("Password", hide_input=True)
    try:
        with LearnloopClient.login(server(), name, password) as made:
            who = made.session()
            keep_token(made.token)
    except LearnloopError as error:
        errors.print(f"[red]error:[/red] {error}", soft_wrap=True)
        raise typer.Exit(1) from error
    say(f"logged in at {server()} as {who.name} ({', '.join(who.roles)})")


@app.command()
def refresh() -> None:
    """Exchange the token for a new one, so that it lasts longer; the old one ends."""
    with client() as api:
        keep_token(api.refresh())
    say("the token is new")


@app.command()
def logout() -> None:
    """Have the token revoked, and forget it."""
    with client() as api:
        try:
            api.logout()
        except NotAuthenticated:
            say("the session had ended already")
    keep_token(None)
    say("logged out")


@app.command()
def whoami() -> None:
    """Say who is logged in, and what they may do."""
    with client() as api:
        who = api.session()
    say(f"{who.name} at {server()}; roles: {', '.join(who.roles)}; may: {', '.join(who.permissions)}")


app.command(name="init")(init.init)
app.command(name="restore")(backup.restore)
app.command(name="audit")(audit.show_events)
app.command(name="quality")(review.show_quality)
app.command(name="queue")(queue.show_queue)
app.command(name="loop")(loop.show_loop)
app.command(name="events")(events.show_events)
app.command(name="notifications")(events.notifications)


@app.command()
def version() -> None:
    """Print Learnloop's version."""
    say(__version__)


if __name__ == "__main__":
    app()
