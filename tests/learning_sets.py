"""Small real data of each task type, from what is installed anyway: samples as files, and their labels."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

LIBRARIES = ("matplotlib", "numpy", "sqlalchemy")


@dataclass(frozen=True)
class LearningSet:
    """``samples``: each file's bytes, in a fixed random order; ``labels``: their classes."""

    name: str
    description: dict[str, Any]
    suffix: str
    samples: tuple[bytes, ...]
    labels: tuple[str, ...]

    def write(self, folder: Path, rows: range, *, name: str | None = None, test: int = 0, **changes: Any) -> Path:
        """A dataset folder of ``rows``, the first ``test`` of them in the test split."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {**self.description, "name": name or self.name, **changes}
        (folder / "dataset.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        self.write_files(folder / "samples", rows)
        table = {
            "sample_id": [sample_id(row) for row in rows],
            "path": [f"samples/{sample_id(row)}{self.suffix}" for row in rows],
            "label": [self.labels[row] for row in rows],
            "split": ["test" if place < test else "train" for place, _ in enumerate(rows)],
        }
        pq.write_table(pa.table(table), folder / "annotations.parquet")
        return folder

    def write_files(self, folder: Path, rows: range) -> Path:
        """A batch of ``rows`` without labels."""
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            (folder / f"{sample_id(row)}{self.suffix}").write_bytes(self.samples[row])
        return folder


def sample_id(row: int) -> str:
    return f"s{row:04d}"


@cache
def wine() -> LearningSet:
    """178 wines of three cultivars, 13 measurements each (UCI, from scikit-learn)."""
    from sklearn.datasets import load_wine

    loaded = load_wine()
    names = [str(name).replace("/", "_") for name in loaded.feature_names]
    rows = [json.dumps(dict(zip(names, map(float, row), strict=True))).encode() for row in loaded.data]
    return _shuffled(
        "wine",
        {
            "task_type": "tabular_classification",
            "classes": [str(name) for name in loaded.target_names],
            "tabular": {"columns": dict.fromkeys(names, "number")},
        },
        ".json",
        rows,
        [str(loaded.target_names[label]) for label in loaded.target],
    )


@cache
def docstrings() -> LearningSet:
    """Which library does this text document? 200 docstrings of functions of each of three, without its own name."""
    texts, labels = [], []
    for library in LIBRARIES:
        found = sorted(_docstrings(library))
        chosen = np.random.default_rng(0).choice(len(found), 200, replace=False)
        texts += [found[index].encode() for index in chosen]
        labels += [library] * 200
    return _shuffled(
        "docstrings",
        {"task_type": "text_classification", "classes": list(LIBRARIES), "text": {"features": 1024, "ngrams": 1}},
        ".txt",
        texts,
        labels,
    )


def _docstrings(library: str) -> set[str]:
    spec = find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    found = set()
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else None
            if text and 80 < len(text) < 1000:
                found.add(text.replace(library, "it").replace("np.", ""))
        if len(found) > 500:
            break
    return found


def _shuffled(
    name: str, description: dict[str, Any], suffix: str, samples: list[bytes], labels: list[str]
) -> LearningSet:
    order = np.random.default_rng(0).permutation(len(samples))
    return LearningSet(
        name,
        {**description, "loop": {"query": {"budget": 20}, "policy": {"labels": 20}}},
        suffix,
        tuple(samples[row] for row in order),
        tuple(labels[row] for row in order),
    )
