"""CSV (UTF-8, a line of headings) and Parquet: the same columns, one row a label."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

from learnloop.annotation.exchange.incoming import (
    Incoming,
    Problems,
    check_rows,
    check_size,
    guess_of,
    priority_of,
    text_of,
)
from learnloop.errors import InvalidInput

PROBABILITY = "probability."
"""Begins the name of a class's column."""
SAMPLE = ("sample_id", "path")
PREDICTION = ("predicted_label", "predicted_confidence", "model_version")
EXTRA = ("object", "batch")
ANSWER = (
    "label",
    "annotator",
    "annotated_at",
    "seconds",
    "comment",
    "confirmed_id",
    "confirmed_at",
    "confirmed_by",
    "supersedes",
    "superseded_by",
    "annotation_id",
    "task_id",
)
WHOLE = {"confirmed_id", "supersedes", "superseded_by", "annotation_id", "task_id"}
AT_ONCE = 5000
"""Rows of a Parquet row group: what is in memory at once."""


def columns_of(classes: Sequence[str]) -> list[str]:
    """The columns of an export, in order."""
    return [*SAMPLE, *EXTRA, *ANSWER, *PREDICTION, *(PROBABILITY + name for name in classes)]


def read(
    path: Path, form: str, classes: Sequence[str], problems: Problems, *, ignore_annotations: bool
) -> list[Incoming]:
    """The rows of a table.

    Columns: ``sample_id`` and/or ``path``; ``predicted_label`` with ``predicted_confidence``, or one column
    ``probability.<class>`` a class; ``model_version``; ``priority``. The columns of an export are known too: those with
    answers are refused, or passed over with ``ignore_annotations``.

    Args:
        form: ``csv`` or ``parquet``.

    Raises:
        InvalidInput: no such table, or columns that nobody knows. What is wrong with single rows goes to ``problems``.
    """
    check_size(path)
    known = {*SAMPLE, *EXTRA, *PREDICTION, "priority", *(PROBABILITY + name for name in classes)}
    made: list[Incoming] = []

    def check(names: Iterable[str]) -> None:
        _check_columns(path, set(names), known, ignore_annotations)

    for where, row in _csv_rows(path, check) if form == "csv" else _parquet_rows(path, check):
        made.append(_row(where, row, classes, problems))
        check_rows(path, len(made))
    return made


def _check_columns(path: Path, given: set[str], known: set[str], ignore_annotations: bool) -> None:
    if not given & set(SAMPLE):
        raise InvalidInput(f"{path.name} has neither a column sample_id nor a column path: one must name the sample")
    answers = sorted(given & set(ANSWER))
    if answers and not ignore_annotations:
        raise InvalidInput(
            f"{path.name} has answers (columns {', '.join(answers)}), which are not imported, for they are not checked:"
            " take the columns out, or ask to ignore them"
        )
    if unknown := sorted(given - known - set(ANSWER)):
        raise InvalidInput(
            f"{path.name} has unknown columns: {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )


def _row(where: str, row: Mapping[str, Any], classes: Sequence[str], problems: Problems) -> Incoming:
    sample = text_of(where, "sample_id", problems, row.get("sample_id"))
    path = text_of(where, "path", problems, row.get("path"))
    if not any(row.get(name) for name in SAMPLE):
        problems.add(where, "sample_id", "names no sample: give sample_id or path")
    # Empty cells are no probabilities: the row has no prediction.
    probabilities = {name: row[PROBABILITY + name] for name in classes if row.get(PROBABILITY + name) not in (None, "")}
    label = text_of(where, "predicted_label", problems, row.get("predicted_label"))
    guess = guess_of(
        where,
        "predicted_label" if not probabilities else PROBABILITY + "*",
        problems,
        classes,
        label=label,
        score=row.get("predicted_confidence"),
        probabilities=probabilities or None,
        model=row.get("model_version"),
    )
    return Incoming(where, sample, path, guess, priority_of(where, "priority", problems, row.get("priority")))


def _csv_rows(path: Path, check: Callable[[Iterable[str]], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or []
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InvalidInput(f"{path.name} has columns twice: {', '.join(twice)}")
            check(names)
            for row in reader:
                if None in row or None in row.values():
                    raise InvalidInput(
                        f"{path.name}, line {reader.line_num}: must have {len(names)} cells, as the headings"
                    )
                yield f"line {reader.line_num}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path.name} is not CSV in UTF-8: {error}") from error


def _parquet_rows(path: Path, check: Callable[[Iterable[str]], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            check_rows(path, file.metadata.num_rows)
            check(file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{path.name} is not Parquet: {error}") from error


def flat(record: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """A record of `exporting.records` as one row."""
    prediction = record["prediction"]
    known = prediction.get("probabilities", {})
    row = {name: record[name] for name in (*SAMPLE, *EXTRA, *ANSWER)}
    row["predicted_label"] = prediction.get("label")
    row["predicted_confidence"] = prediction.get("confidence")
    row["model_version"] = str(prediction.get("model") or prediction.get("model_version", "")) or None
    return row | {PROBABILITY + name: known.get(name) for name in classes}


def write_csv(records: Iterable[Mapping[str, Any]], classes: Sequence[str]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns_of(classes), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow(flat(record, classes))
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def write_parquet(records: Iterable[Mapping[str, Any]], classes: Sequence[str], out: IO[bytes]) -> None:
    """Write to ``out``, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"seconds", "predicted_confidence", *(PROBABILITY + name for name in classes)}
    schema = pa.schema(
        [
            (name, pa.int64() if name in WHOLE else pa.float64() if name in numbers else pa.string())
            for name in columns_of(classes)
        ]
    )
    rows = iter(records)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        while some := [flat(record, classes) for record in islice(rows, AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(some, schema))
