"""A stage, when it is to run, as a `JobSpec`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learnloop.errors import InvalidInput
from learnloop.jobs.spec import JobSpec, parse_spec
from learnloop.pipelines.graph import Stage
from learnloop.pipelines.inputs import Pinned


def spec_of(
    stage: Stage, pins: Mapping[str, Pinned], made: Mapping[str, Mapping[str, Any]], *, user: str, work: str
) -> JobSpec:
    """The job of ``stage``.

    Args:
        pins: its inputs from outside, by name, as `inputs.pin` gave them.
        made: what the stages before it returned: ``results_dir`` and ``models_dir``.
        work: names the run and the stage. Tried again it is the same job, and other runs' are others, for what a command or
            a folder does is not known to be the same twice.

    Raises:
        InvalidInput: an output that it reads is no folder.
    """
    inputs = {}
    for name, wanted in stage.inputs.items():
        found = pins[name] if wanted.stage is None else _output(name, wanted.source, made)
        inputs[name] = {"kind": found["kind"], "source": found["source"], "include": wanted.include}
    values = {**stage.job, "inputs": inputs, "user": user, "pins": _pins(stage, pins)}
    determined = parse_spec(values).default_key()
    key = hashlib.sha256(json.dumps([work, determined]).encode()).hexdigest()[:32]
    return parse_spec({**values, "idempotency_key": f"stage-{key}"})


def _output(name: str, source: str, made: Mapping[str, Mapping[str, Any]]) -> Pinned:
    stage, place, *rest = source.split("/")
    folder = Path(made[stage][f"{place}_dir"], *rest)
    if not folder.is_dir():
        raise InvalidInput(
            f"input {name!r}: {source} is no folder: stage {stage} made none, or it is one file; name its folder"
        )
    return {"kind": "url", "source": folder.as_uri()}


def _pins(stage: Stage, pins: Mapping[str, Pinned]) -> dict[str, Any]:
    """The first dataset and the first model among the inputs: what the job is labelled with."""
    found: dict[str, Any] = {}
    for name, wanted in stage.inputs.items():
        if wanted.kind == "dataset" and "dataset_tree" not in found:
            found.update(dataset_version=pins[name]["name"], dataset_tree=pins[name]["source"])
        if wanted.kind == "model" and "model_name" not in found:
            model, _, version = str(pins[name]["source"]).rpartition("/")
            found.update(model_name=model, model_version=int(version))
    return found
