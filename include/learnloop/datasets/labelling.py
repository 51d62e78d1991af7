"""Labels from a file put into a dataset folder that somebody may change, such as a workspace."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from learnloop.datasets.schema import read_config
from learnloop.datasets.tables import ANNOTATIONS, ANNOTATIONS_FILE, check_key, read_table, upsert_records, write_table
from learnloop.errors import InvalidDataset, InvalidInput

_SHOWN = 10


def put_labels(folder: Path, labels: Path, *, annotator: str) -> int:
    """Give samples of ``folder`` the labels of a Parquet file with ``sample_id`` and ``label``; how many that changed.

    All or none: ``annotations.parquet`` is replaced by one rename. A second time nothing changes.

    Raises:
        InvalidInput: the file cannot be read, lacks a column, or has a sample twice.
        InvalidDataset: a sample that the folder does not have, one of its test split, or a label that is no class.
    """
    given = _read(labels)
    classes = set(read_config(folder).classes)
    annotations = read_table(folder / ANNOTATIONS_FILE, ANNOTATIONS)
    rows = {row["sample_id"]: row for row in annotations.to_pylist()}
    problems = []
    now = datetime.now(UTC)
    changed = []
    for sample, label in given.items():
        row = rows.get(sample)
        if row is None:
            problems.append(f"sample {sample!r} is not in {folder / ANNOTATIONS_FILE}")
        elif row["split"] == "test":
            problems.append(f"sample {sample!r} is in the test split, which labelling never changes")
        elif label not in classes:
            problems.append(f"sample {sample!r}: {label!r} is not one of the classes")
        elif (row["label"], row["split"], row["annotator"]) != (label, "train", annotator):
            changed.append({**row, "label": label, "split": "train", "annotator": annotator, "annotated_at": now})
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise InvalidDataset(f"{labels} cannot be put into {folder}:", [*problems[:_SHOWN], *more])
    if not changed:
        return 0
    table = upsert_records(annotations, pa.Table.from_pylist(changed, schema=ANNOTATIONS))
    temporary = folder / f".{ANNOTATIONS_FILE}.part"
    with temporary.open("wb") as file:
        file.write(write_table(table))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / ANNOTATIONS_FILE)
    return len(changed)


def _read(path: Path) -> dict[str, str]:
    try:
        table = pq.ParquetFile(path).read()
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist: name a Parquet file with sample_id and label") from error
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{path} is not a readable Parquet file: {error}") from error
    if missing := [name for name in ("sample_id", "label") if name not in table.column_names]:
        raise InvalidInput(f"{path} has no column {', '.join(missing)}; it needs sample_id and label")
    check_key(table, str(path))
    return dict(zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True))
