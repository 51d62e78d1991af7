"""``learnloop pipeline``: declare, run, watch, cancel, rerun, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from learnloop.commands import run
from learnloop.commands.arguments import Message
from learnloop.commands.common import JsonOption, client, moment, say, show, table
from learnloop.errors import InvalidInput
from learnloop.pipelines.reading import MOST_BYTES

app = typer.Typer(no_args_is_help=True, help="Pipelines: graphs of jobs, declared in YAML.")

Name = Annotated[str, typer.Argument(help="A pipeline's name.")]
Run = Annotated[str, typer.Argument(help="A run of it; `learnloop pipeline runs` lists them.")]
Stage = Annotated[str | None, typer.Option(help="One stage alone.")]


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="The declaration, YAML or JSON.", exists=True, dir_okay=False)],
    message: Message = "",
    personal: Annotated[bool, typer.Option("--personal", help="Nobody else sees it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it, and show what would run.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Check a declaration and keep it as the newest version of its pipeline. Names all that is wrong with it."""
    with client() as api:
        made = api.apply_pipeline(_read(file), message, personal=personal, dry_run=dry_run)

    def human() -> None:
        if made["version"] is None:
            say(f"{file}: nothing is wrong; this would run:")
            say(json.dumps(made["whole"], indent=2, ensure_ascii=False))
        else:
            say(f"{made['name']} version {made['version']}; in Airflow it is the DAG {made['dag_id']}")
        _say_mounts(made["mounts"])

    show(made, as_json, human)


@app.command("list")
def list_(as_json: bool = JsonOption) -> None:
    """Pipelines, each at its newest version."""
    with client() as api:
        found = api.pipelines()
    rows = [
        [
            each["name"],
            each["version"],
            each["extends"],
            " ".join(each["stages"]),
            "you" if each["personal"] else "all",
            each["owner"],
            moment(each["created_at"]),
        ]
        for each in found
    ]
    show(found, as_json, lambda: table(("pipeline", "version", "extends", "stages", "for", "owner", "at"), rows))


@app.command("show")
def show_pipeline(
    name: Name,
    version: Annotated[int | None, typer.Argument(help="None: the newest.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="With what it takes from its base.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """What was declared."""
    with client() as api:
        found = api.pipeline(name, version)

    def human() -> None:
        say(f"# {found['name']} version {found['version']}, {found['owner']}, {moment(found['created_at'])}")
        for field in ("message", "extends", "provenance", "derived"):
            if found[field]:
                value = found[field]
                say(f"# {field}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
        say(json.dumps(found["whole"], indent=2, ensure_ascii=False) if whole else found["declaration"])
        _say_mounts(found["mounts"], "# ")

    show(found, as_json, human)


@app.command()
def versions(name: Name, as_json: bool = JsonOption) -> None:
    """All versions, the newest first."""
    with client() as api:
        found = api.pipeline_versions(name)
    rows = [
        [
            each["number"],
            "removed" if each["removed"] else each["message"],
            each["extends"],
            each["owner"],
            moment(each["created_at"]),
        ]
        for each in found
    ]
    show(found, as_json, lambda: table(("version", "message", "extends", "owner", "at"), rows))


@app.command("run")
def start(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="And look at it until it has ended.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Start a run of the newest version. Says before what its mounts are estimated to cost."""
    with client() as api:
        if not as_json:
            _say_mounts(api.pipeline(name)["mounts"])
        started = api.run_pipeline(name)
    if watch:
        run.watch(started["dag_id"], started["run_id"], as_json)
    show(started, as_json, lambda: say(f"{started['run_id']} of {name} version {started['version']}"))


@app.command()
def runs(
    name: Name,
    run_id: Annotated[str | None, typer.Argument(help="One run: its stages.")] = None,
    as_json: bool = JsonOption,
) -> None:
    """Runs that have begun, or the stages of one."""
    with client() as api:
        if run_id is not None:
            found = api.pipeline_run(name, run_id)
            rows = [
                [
                    each["stage"],
                    each["state"] or "waits",
                    each["tries"],
                    moment(each["started_at"] or ""),
                    _short(each["result"]),
                ]
                for each in found["stages"]
            ]
            show(found, as_json, lambda: table(("stage", "state", "tries", "started", "result"), rows))
            return
        listed = api.pipeline_runs(name)
    lines = [
        [each["run_id"], each["version"], each["state"], each["owner"], moment(each["created_at"])] for each in listed
    ]
    show(listed, as_json, lambda: table(("run", "version", "state", "owner", "at"), lines))


@app.command()
def cancel(name: Name, run_id: Run) -> None:
    """End your run; its jobs are killed."""
    with client() as api:
        api.cancel_pipeline_run(name, run_id)
    say(f"{run_id} ends")


@app.command()
def rerun(
    name: Name,
    run_id: Run,
    stage: Annotated[str | None, typer.Option("--from", help="From this stage on; none: from what failed.")] = None,
    as_json: bool = JsonOption,
) -> None:
    """Run again what failed in your run, and what waited for it."""
    with client() as api:
        found = api.rerun_pipeline(name, run_id, stage)
    show(found, as_json, lambda: say(f"will run again: {', '.join(found)}"))


@app.command()
def log(name: Name, run_id: Run, stage: str) -> None:
    """What a stage of your run printed last."""
    with client() as api:
        lines = api.stage_log(name, run_id, stage)
    for line in lines:
        say(line)


@app.command()
def diff(
    name: Name,
    before: Run,
    after: Annotated[str, typer.Argument(help="The other run.")],
    of: Annotated[str | None, typer.Option("--of", help="The other run's pipeline, if it is another.")] = None,
    stage: Stage = None,
    as_json: bool = JsonOption,
) -> None:
    """What is other in the second run: configuration, metrics and logs, stage by stage."""
    with client() as api:
        found = api.compare_pipeline_runs(name, before, after, pipeline=of, stage=stage)

    def human() -> None:
        for each in found:
            say(f"{each['stage']}:")
            rows: list[list[Any]] = [
                [one["path"], _short(one["before"]), _short(one["after"])] for one in each["configuration"]
            ]
            rows += [[one["path"], one["before"], one["after"]] for one in each["metrics"]]
            if rows:
                table(("", "before", "after"), rows)
            for line in each["log"] or ():
                say(line)

    show(found, as_json, human)


@app.command()
def train(
    base: Annotated[str, typer.Argument(help="The pipeline to train again.")],
    dataset_version: Annotated[str, typer.Argument(help="A dataset version, such as digits_v1.2.")],
    annotations: Annotated[str, typer.Argument(help="A Parquet file on the server, with sample_id and label.")],
    personal: Annotated[bool, typer.Option("--personal", help="For you alone.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Put labels into a version, and train a pipeline derived from this one on it."""
    with client() as api:
        found = api.train_incrementally(dataset_version, base, annotations, personal=personal)
    show(
        found, as_json, lambda: say(f"{found['run_id']}: see `learnloop run watch {found['dag_id']} {found['run_id']}`")
    )


@app.command()
def release(name: Name, as_json: bool = JsonOption) -> None:
    """Give back what it holds beyond its runs. Results and models stay."""
    with client() as api:
        found = api.release_pipeline(name)
    show(found, as_json, lambda: say(", ".join(f"{kind}: {count}" for kind, count in found.items())))


@app.command()
def remove(name: Name) -> None:
    """Take it out of Airflow. What was declared and what ran stays."""
    with client() as api:
        api.remove_pipeline(name)
    say(f"{name} is removed; apply it again to have it back")


def _read(file: Path) -> str:
    """The file's text. More than a declaration may have is not read, nor sent."""
    with file.open("rb") as opened:
        found = opened.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise InvalidInput(f"{file} is longer than {MOST_BYTES // 1024} KiB: that is no declaration")
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8: {error}") from error


def _stage(each: dict[str, Any]) -> list[Any]:
    started = moment(each["started_at"] or "")
    return [each["stage"], each["state"] or "waits", each["tries"], started, _short(each["result"])]


def _say_mounts(ahead: dict[str, Any], before: str = "") -> None:
    """What a run's mounts would cost; nothing of a pipeline without any."""
    if ahead["cannot"] is not None:
        say(f"{before}its mounts cannot be made as things are: {ahead['cannot']}")
    for line in (ahead["estimate"] or {}).get("explanation", ()):
        say(f"{before}{line}")


def _short(value: Any) -> str:
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
