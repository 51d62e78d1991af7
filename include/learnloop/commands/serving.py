"""``learnloop model ps, show, pull, stop, cp, rm, canary, predict``: what the model server has in memory and answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from learnloop.commands.common import JsonOption, client, say, show, size, table
from learnloop.settings import settings

if TYPE_CHECKING:
    from learnloop.serving.client import ModelClient

Address = Annotated[str, typer.Argument(help="digits, digits:realtime, or a version such as digits:3.")]


def ps(as_json: bool = JsonOption) -> None:
    """The versions that are in memory, with their use."""
    with _server() as server:
        found = server.running()
    rows = [
        [f"{one['model']}:{one['version']}", ", ".join(one["tags"]), size(one["size"]), one["answered"], one["faults"]]
        for one in found
    ]
    show(found, as_json, lambda: table(("model", "served as", "size", "answered", "faults"), rows))


def show_model(address: Address, as_json: bool = JsonOption) -> None:
    """What the model server knows of a model: version, classes, inputs and outputs."""
    with _server() as server:
        found = server.show(address)

    def human() -> None:
        info = found["model_info"]
        say(f"{address} is version {found['version']} of {found['model']}, {size(found['size'])}")
        table(("classes",), [[name] for name in info["parameters"]["classes"]])
        tensors = [["input", one] for one in info["inputs"]] + [["output", one] for one in info["outputs"]]
        table(("", "name", "datatype", "shape"), [[of, t["name"], t["datatype"], t["shape"]] for of, t in tensors])

    show(found, as_json, human)


def pull(
    address: Address,
    keep_alive: Annotated[str, typer.Option(help="How long it stays: 30s, 5m, 1h; -1 for ever.")] = "5m",
) -> None:
    """Have every model server load a version and keep it in memory."""
    with _server() as server:
        server.pull(address, keep_alive)
    say(f"{address} is in memory, for {'ever' if keep_alive.startswith('-') else keep_alive}")


def stop(address: Address) -> None:
    """Unload a version. What has an alias comes back with the next request for it."""
    with _server() as server:
        server.stop(address)
    say(f"{address} is out of memory")


def cp(
    source: Address, destination: Annotated[str, typer.Argument(help="Where to serve it, such as digits:realtime.")]
) -> None:
    """Serve what one address names under another alias, and as current. Ends when every model server has it."""
    with _server(timeout=180) as server:
        for one in server.copy(source, destination):
            say(
                f"{one['model']}:{one['alias']} serves version {one['version']} (before: {one['previous'] or 'nothing'})"
            )


def rm(address: Address) -> None:
    """Take an alias away, or let go of a version that was pulled. Versions stay in the registry."""
    with _server() as server:
        server.delete(address)
    say(f"{address} is gone")


def canary(
    model: Annotated[str, typer.Argument(help="A model.")],
    alias: Annotated[str, typer.Argument(help="base, realtime, optimized or current.")],
    version: Annotated[int | None, typer.Argument(help="What answers a share of the requests; none: end it.")] = None,
    percent: Annotated[int, typer.Option(help="How large a share: 1 to 99.")] = 10,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why: kept with the decision.")] = "",
    as_json: bool = JsonOption,
) -> None:
    """Have another version answer a share of an alias's requests, to look at it before it answers all."""
    with client() as api:
        share = percent if version is not None else 0
        row = api.set_canary(model, alias, version, percent=share, reason=reason)

    def human() -> None:
        if row["canary_version"] is None:
            say(f"{model}:{alias} serves version {row['model_version']} alone")
        else:
            said = f"{row['canary_percent']} % of its requests go to version {row['canary_version']}"
            say(f"{model}:{alias} serves version {row['model_version']}; {said}")

    show(row, as_json, human)


def predict(
    address: Address,
    files: Annotated[list[Path], typer.Argument(help="Samples: images, texts, or rows as JSON objects.")],
    as_json: bool = JsonOption,
) -> None:
    """Ask a model about samples, each a file as in a batch."""
    with _server() as server:
        answer = server.infer_samples(address, [file.read_bytes() for file in files])
    found = [
        {"file": str(file), "label": label, "confidence": float(row.max()), "version": answer.model_version}
        for file, label, row in zip(files, answer.labels, answer.probabilities, strict=True)
    ]
    rows = [[one["file"], one["label"], f"{one['confidence']:.1%}"] for one in found]
    show(found, as_json, lambda: table(("file", "label", "confidence"), rows))


def add_to(app: typer.Typer) -> None:
    """Make the commands part of ``learnloop model``."""
    commands: dict[str, Any] = {
        "ps": ps,
        "show": show_model,
        "pull": pull,
        "stop": stop,
        "cp": cp,
        "rm": rm,
        "canary": canary,
        "predict": predict,
    }
    for name, command in commands.items():
        app.command(name)(command)


@contextmanager
def _server(timeout: float = 90.0) -> Iterator[ModelClient]:
    """The model server, as who is logged in; what it says ends the command as an error of the API's does."""
    from learnloop.serving.client import ModelClient  # NumPy; other commands need none

    with client() as api, ModelClient(settings().serving_url, token=api.token, timeout=timeout) as server:
        yield server
