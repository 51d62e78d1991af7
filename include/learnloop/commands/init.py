"""``learnloop init``: what a deployment needs once, and again after an upgrade."""

from __future__ import annotations

import json
import subprocess
import sys

import typer

from learnloop.commands.common import errors, say
from learnloop.errors import LearnloopError
from learnloop.settings import settings


def init() -> None:
    """Make or upgrade Learnloop's tables and the model registry's, and make the roles in Airflow. For operators.

    Run it where Airflow is configured, after `airflow db migrate`; again does no harm.
    """
    from learnloop.database.engine import engine
    from learnloop.database.migrate import upgrade
    from learnloop.models import registry

    try:
        engine()  # says what is wrong with its URL
        upgrade(settings().database_url)
        say("Learnloop's tables are up to date")
        registry.prepare()
        say("the model registry's tables are up to date")
    except LearnloopError as error:
        errors.print(f"[red]error:[/red] {error}", soft_wrap=True)
        raise typer.Exit(1) from error
    # In a process of its own: this package knows nothing of Airflow.
    made = subprocess.run(
        [sys.executable, "-m", "learnloop_airflow.roles"], input="[]", capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        errors.print(f"[red]error:[/red] the roles were not made in Airflow:\n{made.stderr[-2000:]}", soft_wrap=True)
        raise typer.Exit(1)
    made_of = json.loads(made.stdout.strip().splitlines()[-1])
    if made_of is None:
        say(
            "Airflow's auth manager has no roles of its own to make: its roles stand for Learnloop's (docs/identity.md)"
        )
    else:
        say("the roles are in Airflow: admin, engineer, scientist, annotator, reviewer, viewer")
