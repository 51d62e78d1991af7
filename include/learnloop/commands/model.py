"""``learnloop model``: versions of models, side by side; what is served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from learnloop.commands import serving
from learnloop.commands.common import JsonOption, client, moment, say, show, table

app = typer.Typer(no_args_is_help=True, help="Models: list, compare, promote, roll back, load, ask.")

Model = Annotated[str, typer.Argument(help="A model; a dataset's models bear its name.")]
Alias = Annotated[str, typer.Argument(help="base, realtime, optimized or current.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why: kept with what was decided.")]


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(help="A model; none: all models.")] = None, as_json: bool = JsonOption
) -> None:
    """List models, or the versions of one, newest first."""
    with client() as api:
        if model is None:
            names = api.models()
            show(names, as_json, lambda: table(("model",), [[name] for name in names]))
            return
        versions = api.model_versions(model)
    headings = ("version", "aliases", "accuracy", "dataset version", "gate", "at")
    show(versions, as_json, lambda: table(headings, [_row(version) for version in versions]))


@app.command()
def compare(model: Model, before: int, after: int, as_json: bool = JsonOption) -> None:
    """Two versions side by side: figures and accuracy by class."""
    with client() as api:
        found = api.compare_models(model, before, after)

    def human() -> None:
        rows = [[name, *_figures(name, of)] for name, of in found["figures"].items()]
        rows += [[f"class {name}", *_figures("accuracy", of)] for name, of in found["per_class"].items()]
        table(("", f"version {before}", f"version {after}", "change"), rows)
        if not found["same_data"]:
            say("not measured on the same test samples: the figures may not mean the same")

    show(found, as_json, human)


@app.command()
def report(model: Model, version: int, file: Annotated[Path, typer.Argument(help="Where to write the HTML.")]) -> None:
    """Fetch the report of a version: learning curve, confusion, calibration, slices, lineage."""
    with client() as api:
        text = api.model_report(model, version)
    file.write_text(text, encoding="utf-8")
    say(f"{file}: the report of version {version} of {model}")


@app.command()
def keep(
    model: Model,
    version: int,
    reason: Reason = "",
    no_longer: Annotated[bool, typer.Option("--no-longer", help="It may go when nothing else needs it.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Have a version stay that structure optimisation did not choose: such go after LEARNLOOP_MODEL_DAYS days."""
    with client() as api:
        found = api.let_model_go(model, version) if no_longer else api.keep_model(model, version, reason)
    what = "goes when nothing else needs it" if no_longer else "stays"
    show(found, as_json, lambda: say(f"version {version} of {model} {what}"))


@app.command()
def accuracy(model: Model, as_json: bool = JsonOption) -> None:
    """How good each version was on new data: on the samples that were drawn at random when it scored."""
    with client() as api:
        found = api.accuracy(model)

    def human() -> None:
        rows = [
            [
                row["model_version"],
                f"{row['right']} of {row['labelled']}",
                f"{row['accuracy']:.1%}",
                f"{row['low']:.1%} to {row['high']:.1%}",
            ]
            for row in found
        ]
        table(("version", "right", "accuracy", "95 % interval"), rows)
        if not found:
            say("no sample that was drawn at random has a label yet (loop: query: random_share)")

    show(found, as_json, human)


@app.command()
def structure(
    dataset: Annotated[str, typer.Argument(help="A dataset.")],
    search: Annotated[int | None, typer.Argument(help="A search, with all that it tried; none: list them.")] = None,
    as_json: bool = JsonOption,
) -> None:
    """Whether the model's structure is still right: each time it was asked, why, what was tried, what came of it."""
    with client() as api:
        if search is None:
            found = api.structure_searches(dataset)
            rows = [
                [one["id"], one["state"], one["reason"], one["outcome"], moment(one["created_at"])] for one in found
            ]
            show(found, as_json, lambda: table(("search", "state", "why", "outcome", "at"), rows))
            return
        one = api.structure_search(dataset, search)

    def human() -> None:
        say(f"{one['state']}: {one['outcome'] or one['reason']}")
        headings = ("trial", "structure", "accuracy", "ms a row", "KiB", "front", "version", "state", "why")
        table(headings, [_trial(trial, trial["number"] == one["chosen"]) for trial in one["tried"]])

    show(one, as_json, human)


@app.command()
def served(as_json: bool = JsonOption) -> None:
    """What is served under which alias."""
    with client() as api:
        found = api.deployments()
    rows = [
        [
            f"{row['model_name']}:{row['alias']}",
            row["model_version"],
            row["previous_version"],
            f"{row['canary_version']} ({row['canary_percent']} %)" if row["canary_version"] else None,
            row["owner"],
        ]
        for row in found
    ]
    show(found, as_json, lambda: table(("address", "version", "before", "canary", "by"), rows))


@app.command()
def promote(model: Model, alias: Alias, version: int, reason: Reason = "", as_json: bool = JsonOption) -> None:
    """Serve a version under an alias, and as current. Ends when every model server has it."""
    with client() as api:
        moved = api.promote(model, alias, version, reason)
    show(moved, as_json, lambda: _say(moved))


@app.command()
def rollback(
    model: Model,
    alias: Alias,
    seen: Annotated[int | None, typer.Option(help="Only if this version is served now.")] = None,
    reason: Reason = "",
    as_json: bool = JsonOption,
) -> None:
    """Serve again what was served before under an alias. Ends when every model server does."""
    with client() as api:
        moved = api.roll_back(model, alias, seen=seen, reason=reason)
    show(moved, as_json, lambda: _say(moved))


def _say(moved: list[dict[str, Any]]) -> None:
    for one in moved:
        say(f"{one['model']}:{one['alias']} serves version {one['version']} (before: {one['previous'] or 'nothing'})")


def _trial(trial: dict[str, Any], chosen: bool) -> list[object]:
    return [
        trial["number"],
        trial["structure"],
        None if trial["accuracy"] is None else f"{trial['accuracy']:.1%}",
        None if trial["latency_ms"] is None else f"{trial['latency_ms']:.3f}",
        None if trial["model_bytes"] is None else f"{trial['model_bytes'] / 1024:,.0f}",
        "yes" if trial["on_front"] else "",
        trial["model_version"],
        "chosen" if chosen else trial["state"],
        trial["reason"],
    ]


def _row(version: dict[str, Any]) -> list[object]:
    accuracy = version["metrics"].get("accuracy")
    return [
        version["version"],
        ", ".join(version["aliases"]),
        None if accuracy is None else f"{accuracy:.1%}",
        version["tags"].get("dataset_version"),
        version["tags"].get("gate"),
        moment(version["created_at"]),
    ]


def _figures(name: str, of: dict[str, float | None]) -> list[str]:
    return [
        "" if value is None else _figure(name, value, signed=key == "change")
        for key, value in ((key, of[key]) for key in ("before", "after", "change"))
    ]


def _figure(name: str, value: float, *, signed: bool) -> str:
    sign = "+" if signed and value > 0 else ""
    if name == "accuracy":
        return f"{sign}{value:.1%}"
    return f"{sign}{value:,.0f}" if name == "model_bytes" else f"{sign}{value:.3f}"


serving.add_to(app)
