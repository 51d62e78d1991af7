"""The pipeline of an incremental training: a base pipeline that reads a newer version of its dataset."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy.orm import Session

from learnloop.database import PipelineVersion
from learnloop.errors import InvalidInput
from learnloop.pipelines.checking import limits_of
from learnloop.pipelines.graph import Graph
from learnloop.pipelines.inputs import missing
from learnloop.pipelines.stored import apply, check_text, find, graph_of
from learnloop.settings import settings


def derive(
    session: Session,
    base: str,
    *,
    dataset: str,
    version: str,
    user: str,
    personal: bool,
    work: str,
    provenance: dict[str, Any],
) -> PipelineVersion:
    """Apply a pipeline that extends ``base`` at its newest, and reads ``version`` wherever that reads ``dataset``.

    Args:
        work: names what asked for it; asked again, it is the same pipeline.

    Raises:
        NotFound: there is no such base for ``user``.
        InvalidInput: nothing of it reads the dataset.
    """
    newest = find(session, base, user=user)
    stages = data_paths(graph_of(newest), dataset, version)
    if not stages:
        raise InvalidInput(f"no stage of pipeline {base} reads dataset {dataset}: nothing would be new")
    declared = {
        "name": name_of(base, work),
        "description": f"{base} on {version}",
        "extends": f"{base}@{newest.number}",
        "stages": stages,
    }
    checked = check_text(
        session,
        json.dumps(declared, indent=1),
        user=user,
        limits=limits_of(settings()),
        missing=missing(session, user),
    )
    return apply(
        session, checked, user=user, message=f"trains {base} on {version}", personal=personal, provenance=provenance
    )


def data_paths(graph: Graph, dataset: str, version: str) -> dict[str, Any]:
    """What a declaration must say for each input that reads the dataset, or a version of it, to read ``version``."""
    stages: dict[str, Any] = {}
    for name, stage in graph.stages.items():
        for key, wanted in stage.inputs.items():
            if wanted.kind == "dataset" and wanted.source.partition("_")[0] == dataset:
                other = {**wanted.model_dump(mode="json"), "source": version}
                stages.setdefault(name, {"inputs": {}})["inputs"][key] = other
    return stages


def name_of(base: str, work: str) -> str:
    """A DNS label that tells what it was made from."""
    return f"{base[:50].rstrip('-')}-inc-{hashlib.sha256(work.encode()).hexdigest()[:8]}"
