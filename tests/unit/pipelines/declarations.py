"""Declarations for tests."""

from __future__ import annotations

import copy
import json
from typing import Any

from learnloop.mounts.table import load_table
from learnloop.pipelines.checking import Limits, check
from learnloop.pipelines.graph import Graph
from learnloop.pipelines.reading import read_declaration

LIMITS = Limits(
    images=("learnloop/training:0.1.0", "registry.example/team/*"),
    cpu=8,
    memory="4Gi",
    gpu=1,
    classes=lambda: load_table("", "local"),
)

WHOLE: dict[str, Any] = {
    "name": "animals",
    "description": "prepare, train, look",
    "stages": {
        "prepare": {
            "command": ["python", "-c", "print(1)"],
            "inputs": {"data": {"kind": "dataset", "source": "animals"}},
            "outputs": ["results/tables"],
        },
        "train": {
            "image": "registry.example/team/train:7",
            "module": "learnloop.training.train",
            "params": {"hidden": [32], "note": "x"},
            "env": {"MODE": "fast"},
            "secrets": {"TOKEN": "store/token"},
            "resources": {"cpu": 2, "memory": "2Gi"},
            "mounts": [{"name": "scratch", "path": "/scratch", "size": "1Gi"}],
            "inputs": {"tables": {"kind": "stage", "source": "prepare/results/tables"}},
            "outputs": ["models/model", "results/metrics.json"],
            "seed": 7,
        },
        "look": {"module": "a.b", "after": ["train"], "inputs": {"m": {"kind": "stage", "source": "train/models"}}},
    },
}


def whole() -> dict[str, Any]:
    return copy.deepcopy(WHOLE)


def checked(declared: dict[str, Any], limits: Limits = LIMITS) -> Graph:
    """Through the text, as a request goes."""
    return check(read_declaration(json.dumps(declared)), limits, missing=lambda wanted: None)
