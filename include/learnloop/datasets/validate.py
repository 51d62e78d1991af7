"""Is a dataset folder, or a batch, what it should be? A report that names everything that is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from learnloop.datasets.files import Files, FolderFiles
from learnloop.datasets.recipes import Recipe, recipe_of
from learnloop.datasets.samples import sample_table
from learnloop.datasets.schema import DatasetConfig, read_config
from learnloop.datasets.tables import ANNOTATIONS_FILE, some
from learnloop.errors import InvalidDataset

SPLITS = ("train", "test")
_SHOWN = 100


@dataclass(frozen=True)
class Report:
    """What a folder holds and what is wrong with it. ``per_class`` counts labelled samples, also where none."""

    folder: str
    samples: int = 0
    labelled: int = 0
    per_class: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def raise_if_wrong(self) -> None:
        """Raise InvalidDataset with the problems, when there are any."""
        if self.problems:
            more = len(self.problems) - _SHOWN
            shown = self.problems[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])
            raise InvalidDataset(f"{self.folder} cannot be used:", shown)


def validate_folder(folder: Path, config: DatasetConfig | None = None, *, require_labels: bool = True) -> Report:
    """Check a dataset folder, or with its dataset's ``config`` a batch.

    Args:
        config: what to check against; None to read the folder's own ``dataset.yaml``.
        require_labels: whether ``annotations.parquet`` must be there, with labels of two classes or more.
    """
    try:
        config = config or read_config(folder)
        files = FolderFiles(folder)
        if require_labels and ANNOTATIONS_FILE not in files.paths():
            raise InvalidDataset(
                f"{ANNOTATIONS_FILE} is missing: it says which samples there are and how they are labelled"
            )
        table = sample_table(files)
    except InvalidDataset as error:
        return Report(str(folder), problems=list(error.problems) or [str(error)])
    counts = Counter(label for label in table.column("label").to_pylist() if label is not None)
    problems = [] if table.num_rows else ["there is no sample"]
    problems += _wrong_values(table, config)
    problems += _wrong_files(table, files, recipe_of(config))
    if require_labels and table.num_rows and sum(counts[name] > 0 for name in config.classes) < 2:
        problems.append("too few labels: labelled samples of at least two classes are needed")
    return Report(
        str(folder), table.num_rows, counts.total(), {name: counts[name] for name in config.classes}, problems
    )


def _wrong_values(table: pa.Table, config: DatasetConfig) -> list[str]:
    labels: dict[str, list[str]] = defaultdict(list)
    splits: dict[str, list[str]] = defaultdict(list)
    classes = set(config.classes)
    for row in table.select(["sample_id", "label", "split"]).to_pylist():
        if row["label"] is not None and row["label"] not in classes:
            labels[row["label"]].append(row["sample_id"])
        if row["split"] is not None and row["split"] not in SPLITS:
            splits[row["split"]].append(row["sample_id"])
    known = some(config.classes)
    return [
        *(f"label {label!r} of {some(found)} is not one of the classes: {known}" for label, found in labels.items()),
        *(f"split {split!r} of {some(found)} is neither train nor test" for split, found in splits.items()),
    ]


def _wrong_files(table: pa.Table, files: Files, recipe: Recipe) -> list[str]:
    problems = []
    there = set(files.paths())
    owner: dict[str, str] = {}
    for sample, path in zip(table.column("sample_id").to_pylist(), table.column("path").to_pylist(), strict=True):
        if not path:
            problems.append(f"sample {sample!r} has no path")
        elif path in owner:
            problems.append(f"samples {owner[path]!r} and {sample!r} have one file, {path}")
        elif path not in there:
            problems.append(f"sample {sample!r}: there is no file {path}")
        else:
            owner[path] = sample
            try:
                recipe.check(files.read(path), path)
            except InvalidDataset as error:
                problems.append(f"sample {sample!r}: {error}")
    return problems
