"""Datasets of texts and of rows, without a label and without a model, whose first tasks are there to be answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from learnloop.client import LearnloopClient
from learnloop.stack.demo.airflow import AirflowClient

BIRDS = "birds-first"
"""Texts of 49 classes, more than there are keys; two people answer each."""
KINDS = ("tern", "gull", "heron", "grebe", "kite", "finch", "owl")
CLASSES = [
    f"{how} {kind}" for how in ("common", "arctic", "great", "lesser", "red", "green", "spotted") for kind in KINDS
]
STONES = "stones-first"
LONG = "a-name-without-any-place-to-break-it-" * 4
SAMPLES = 14


def bring_in(stack: Any, folder: Path, name: str, config: dict[str, Any], samples: dict[str, str]) -> None:
    """A version that has only a ``dataset.yaml``; then the samples, of which the first to be labelled are chosen."""
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset" / "dataset.yaml").write_text(yaml.safe_dump({"name": name, **config}, sort_keys=False))
    (folder / "new").mkdir()
    for file, content in samples.items():
        (folder / "new" / file).write_text(content, encoding="utf-8")
    with LearnloopClient.login(stack.url, *stack.users["scientist"]) as scientist:
        scientist.snapshot(str(folder / "dataset"))
        airflow = AirflowClient(stack.url, scientist.token or "")
        airflow.wait_for_dag("score_incoming_data")
        airflow.run("score_incoming_data", {"dataset": name, "path": str(folder / "new"), "batch": "first"})


def birds(stack: Any, folder: Path) -> str:
    config = {
        "task_type": "text_classification",
        "classes": CLASSES,
        "text": {"features": 256},
        "loop": {
            "query": {"budget": SAMPLES},
            "policy": {"labels": 1000},
            "quality": {"overlap": 2, "most_opinions": 2, "gold_every": 1000},
        },
    }
    seen = {
        f"note-{n:02d}.txt": f"Seen at dawn, no. {n}: a {CLASSES[3 * n]}.\n\nhttps://example.org/{LONG}{n}\n"
        for n in range(SAMPLES)
    }
    bring_in(stack, folder, BIRDS, config, seen)
    return BIRDS


def stones(stack: Any, folder: Path) -> str:
    columns = {"weight": "number", LONG: "number", "found": ["river", LONG]}
    config = {
        "task_type": "tabular_classification",
        "classes": ["granite", "basalt"],
        "tabular": {"columns": columns},
        "loop": {"query": {"budget": SAMPLES}, "policy": {"labels": 1000}, "quality": {"gold_every": 1000}},
    }
    found = {
        f"stone-{n:02d}.json": json.dumps({"weight": n / 3, LONG: n, "found": LONG if n % 2 else "river"})
        for n in range(SAMPLES)
    }
    bring_in(stack, folder, STONES, config, found)
    return STONES
