"""Reads a staged dataset into arrays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from learnloop.errors import InvalidDataset

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]

_SHOWN = 5  # faults of one kind named in an error


@dataclass(frozen=True)
class Data:
    """The labelled samples of a version.

    Attributes:
        X: features, float32 (n, d), finite.
        y: indices into ``classes``, (n,).
        train: which rows are training samples, bool (n,); the others are the test split.
        sample_ids: (n,), sorted, so that the order never depends on the file's.
    """

    X: Rows
    y: Labels
    train: NDArray[np.bool_]
    sample_ids: tuple[str, ...]
    classes: tuple[str, ...]
    task_type: str = "image_classification"

    def without(self, sample_ids: Collection[str]) -> Data:
        """The same less these samples."""
        gone = set(sample_ids)
        kept = np.array([name not in gone for name in self.sample_ids], dtype=np.bool_)
        ids = tuple(name for name in self.sample_ids if name not in gone)
        return replace(self, X=self.X[kept], y=self.y[kept], train=self.train[kept], sample_ids=ids)

    def training(self) -> tuple[Rows, Labels]:
        """The training split.

        Raises:
            InvalidDataset: it has fewer than two classes.
        """
        return self._part(self.train, "training", classes=2)

    def test(self) -> tuple[Rows, Labels]:
        """The test split.

        Raises:
            InvalidDataset: it is empty.
        """
        return self._part(~self.train, "test", classes=1)

    def _part(self, mask: NDArray[np.bool_], name: str, classes: int) -> tuple[Rows, Labels]:
        X, y = self.X[mask], self.y[mask]
        found = len(np.unique(y))
        if found == 0:
            raise InvalidDataset(f"the dataset has no labelled {name} sample; label some, then preprocess it again")
        if found < classes:
            raise InvalidDataset(
                f"all {len(y)} labelled {name} samples are of class {self.classes[y[0]]!r}; at least {classes} are needed"
            )
        return X, y


def read(folder: Path) -> Data:
    """Read ``dataset.yaml``, ``annotations.parquet`` and ``features.parquet`` of ``folder``; unlabelled rows are left out.

    Raises:
        InvalidDataset: something is missing or does not fit together; each fault with its place.
    """
    classes, task_type = _described(folder / "dataset.yaml")
    annotations = _table(folder / "annotations.parquet", ("sample_id", "label", "split"))
    features = _table(folder / "features.parquet", ("sample_id", "features"))
    labelled = annotations.filter(pc.is_valid(annotations["label"])).sort_by("sample_id")
    ids: list[str] = labelled["sample_id"].to_pylist()
    labels: list[str] = labelled["label"].to_pylist()
    splits: list[str | None] = labelled["split"].to_pylist()

    known = {name: index for index, name in enumerate(classes)}
    problems = [
        *_faults("label {1!r} of sample {0} is not one of the dataset's classes", _bad(ids, labels, set(known))),
        *_faults("split {1!r} of labelled sample {0} must be train or test", _bad(ids, splits, {"train", "test"})),
        *_faults("sample {0} is there twice", [(name,) for name, after in pairwise(ids) if name == after]),
    ]
    if problems:
        raise InvalidDataset(f"{folder / 'annotations.parquet'} cannot be trained on", problems)
    X = _matrix(features, ids, folder / "features.parquet")
    y = np.array([known[label] for label in labels], dtype=np.int64)
    train = np.array([split == "train" for split in splits], dtype=np.bool_)
    return Data(X, y, train, tuple(ids), classes, task_type)


def _described(path: Path) -> tuple[tuple[str, ...], str]:
    """The classes, and the task type."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidDataset(f"{path} is missing; it names the dataset's classes") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"{path} is not YAML: {error}") from error
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, list) or len(classes) < 2 or not all(isinstance(name, str) for name in classes):
        raise InvalidDataset(f"{path}: classes must be a list of at least two names (quote numbers)")
    if len(set(classes)) != len(classes):
        raise InvalidDataset(f"{path}: a class is listed twice")
    return tuple(classes), str(content.get("task_type", Data.task_type))


def _table(path: Path, columns: tuple[str, ...]) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise InvalidDataset(f"{path} is missing; preprocessing makes it") from error
    except (pa.ArrowException, OSError) as error:
        raise InvalidDataset(f"{path} is not a readable Parquet file: {error}") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise InvalidDataset(f"{path} has no column {', '.join(missing)}")
    return table.select(list(columns))


def _matrix(features: pa.Table, ids: list[str], path: Path) -> Rows:
    """The feature rows of ``ids``, in that order."""
    row_of = {name: row for row, name in enumerate(features["sample_id"].to_pylist())}
    problems = _faults(
        "sample {0} has no features; preprocess the dataset again", [(n,) for n in ids if n not in row_of]
    )
    if problems:
        raise InvalidDataset(f"{path} does not fit annotations.parquet", problems)
    if not ids:
        return np.zeros((0, 0), dtype=np.float32)
    chosen = features["features"].take(pa.array([row_of[name] for name in ids], pa.int64()))
    lengths = pc.fill_null(pc.list_value_length(chosen), 0).to_pylist()
    size = max(lengths)
    problems = _faults(f"sample {{0}} has {{1}} features, others have {size}", _bad(ids, lengths, {size}))
    if problems or size == 0:
        raise InvalidDataset(f"{path}: every sample must have the same number of features, at least one", problems)
    values = pc.list_flatten(chosen).combine_chunks().to_numpy(zero_copy_only=False)
    X = np.ascontiguousarray(values, dtype=np.float32).reshape(len(ids), size)
    finite = np.isfinite(X).all(axis=1)
    problems = _faults(
        "sample {0} has a feature that is NaN or infinite", [(ids[row],) for row in np.flatnonzero(~finite)]
    )
    if problems:
        raise InvalidDataset(f"{path} holds values that are no numbers", problems)
    return X


def _bad(ids: list[str], values: list[Any], allowed: set[Any]) -> list[tuple[Any, ...]]:
    return [(name, value) for name, value in zip(ids, values, strict=True) if value not in allowed]


def _faults(form: str, bad: list[tuple[Any, ...]]) -> list[str]:
    said = [form.format(*fault) for fault in bad[:_SHOWN]]
    return said + ([f"... and {len(bad) - _SHOWN} more like this"] if len(bad) > _SHOWN else [])
