"""``learnloop user``: people who leave."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.commands.common import JsonOption, client, say, show

app = typer.Typer(no_args_is_help=True, help="People. Users are made, changed and deactivated in Airflow.")


@app.callback()
def _group() -> None:
    """Keeps `offboard` a word of its own, though there is but one."""


@app.command()
def offboard(
    name: Annotated[str, typer.Argument(help="Who leaves; or archive:NAME, to take it out of the archive.")],
    to: Annotated[str | None, typer.Option(help="Who gets what is theirs.")] = None,
    archive: Annotated[bool, typer.Option("--archive", help="Keep it where nobody but an admin gets at it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is; change nothing.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Revoke somebody's tokens, give back their locks and leases, hand over workspaces, versions and models.

    Deactivate them in Airflow first, so that they cannot log in again.
    """
    with client() as api:
        report = api.offboard(name, to=to, archive=archive, dry_run=dry_run)

    def human() -> None:
        say(f"{'would go' if dry_run else 'gone'} from {report['name']} to {report['to']}:")
        for what, found in report.items():
            if found and what not in ("name", "to", "dry_run"):
                say(f"  {what.replace('_', ' ')}: {', '.join(found) if isinstance(found, list) else found}")

    show(report, as_json, human)
