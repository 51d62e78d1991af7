"""``learnloop run``: how far a run of Airflow's is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from learnloop.commands.common import JsonOption, client, moment, say, show, shown, table, table_of
from learnloop.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Runs of Airflow's DAGs: how far they are.")

Dag = Annotated[str, typer.Argument(help="A DAG, such as base_model_training.")]
Run = Annotated[str, typer.Argument(help="A run of it, such as round-digits-3.")]

HEADINGS = ("task", "state", "started", "progress")


@app.command(name="show")
def show_run(dag: Dag, run: Run, as_json: bool = JsonOption) -> None:
    """The tasks of a run, their states, and how far their jobs are."""
    with client() as api:
        found = api.run_progress(dag, run)
    show(found, as_json, lambda: table(HEADINGS, [_row(task) for task in found["tasks"]]))
    if not as_json:
        say(f"{found['dag_id']} {found['run_id']}: {found['state']}")


@app.command()
def watch(dag: Dag, run: Run, as_json: bool = JsonOption) -> None:
    """The same as it happens, until the run has ended. Ends with code 1 when the run failed."""
    tasks: dict[tuple[str, int], dict[str, Any]] = {}
    state = ""
    with client() as api:
        if as_json:
            for told in api.follow_run(dag, run):
                print(json.dumps(told, ensure_ascii=False), flush=True)
                state = told["state"]
        else:
            with Live(console=shown, refresh_per_second=4) as live:
                for told in api.follow_run(dag, run):
                    state = told["state"]
                    if "task_id" in told:
                        tasks[told["task_id"], told["map_index"]] = told
                        live.update(table_of(HEADINGS, [_row(task) for task in tasks.values()]))
            say(f"{dag} {run}: {state}")
    raise typer.Exit(0 if state == "success" else 1)


@app.command()
def mounts(dag: Dag, run: Run, as_json: bool = JsonOption) -> None:
    """What a run chose for its mounts, what that was estimated to cost, and why."""
    with client() as api:
        found = api.run_mounts(dag, run)

    def human() -> None:
        for task in found:
            say("\n".join([f"{task['task_id']}: ", *task["explanation"]]))
        if not found:
            say("no task of this run has planned any mounts")

    show(found, as_json, human)


@app.command()
def usage(dag: Dag, run: Run, as_json: bool = JsonOption) -> None:
    """What the jobs of a run used, beside what they asked for."""
    with client() as api:
        found = api.run_usage(dag, run)

    def human() -> None:
        for task in found:
            place = task["task_id"] + (f" {task['map_index']}" if task["map_index"] >= 0 else "")
            say(f"{place}, try {task['try_number']}: {task['words']}")
        if not found:
            say("no job of this run has ended yet, or it ran none")

    show(found, as_json, human)


@app.command()
def estimate(
    needs: Annotated[Path, typer.Argument(help="A YAML file: a list of mounts, or a job's spec with `mounts`.")],
    as_json: bool = JsonOption,
) -> None:
    """What mounts would cost and where they would be, before there is a run; docs/mounts.md says what can be asked for."""
    import yaml

    with client() as api:
        try:
            given = yaml.safe_load(needs.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InvalidInput(f"{needs} cannot be read: {error}") from error
        wanted = given.get("mounts") if isinstance(given, dict) else given
        if not isinstance(wanted, list):
            raise InvalidInput(f"{needs} holds no list of mounts")
        found = api.estimate_mounts(wanted)
    show(found, as_json, lambda: say("\n".join(found["explanation"])))


def _row(task: dict[str, Any]) -> list[str]:
    name = task["task_id"] + (f" {task['map_index']}" if task["map_index"] >= 0 else "")
    told = {name: value for name, value in (task["progress"] or {}).items() if name != "at"}
    progress = ", ".join(f"{field} {value}" for field, value in told.items())
    return [name, task["state"] or "waits", moment(task["started_at"] or ""), progress]
