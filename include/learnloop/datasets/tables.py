"""The keyed tables of a dataset: Parquet with one row a sample, sorted by ``sample_id``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from learnloop.errors import InvalidDataset

ANNOTATIONS_FILE = "annotations.parquet"
FEATURES_FILE = "features.parquet"
KEY = "sample_id"
ROWS_AT_ONCE = 4096
MAX_KEY = 250  # characters; the database has columns of this width

ANNOTATIONS = pa.schema(
    [
        ("sample_id", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("annotator", pa.string()),
        ("annotated_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""``label`` is null for a sample nobody has labelled, ``split`` is ``train``, ``test`` or null."""

FEATURES = pa.schema([("sample_id", pa.string()), ("path", pa.string()), ("features", pa.list_(pa.float32()))])

# What a file may leave out; such columns are read as null.
OPTIONAL = frozenset({"label", "split", "annotator", "annotated_at"})


def read_table(source: bytes | Path, schema: pa.Schema | None = None, where: str = "") -> pa.Table:
    """Read a keyed table.

    Args:
        schema: what a file from outside must have: the result has exactly these columns, in this order. None takes
            the columns as they are.
        where: names the table in errors; by default the path.

    Raises:
        InvalidDataset: missing, not Parquet, a column missing, unknown or of another type, a bad key.
    """
    where = where or (str(source) if isinstance(source, Path) else "the table")
    try:
        read = pq.ParquetFile(io.BytesIO(source) if isinstance(source, bytes) else source).read()
    except FileNotFoundError as error:
        raise InvalidDataset(f"{where} does not exist") from error
    except (pa.ArrowException, OSError) as error:
        raise InvalidDataset(f"{where} is not a readable Parquet file: {error}") from error
    table = read if schema is None else conform(read, schema, where)
    check_key(table, where)
    return table


def read_rows(path: Path, start: int, stop: int) -> pa.Table:
    """Rows ``start`` to ``stop`` of a Parquet file; of the others a batch at a time is in memory, and most are not read.

    Raises:
        InvalidDataset: it is not readable.
    """
    try:
        with pq.ParquetFile(path) as file:
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            starts = np.cumsum([0, *counts])
            wanted = [group for group in range(len(counts)) if starts[group] < stop and starts[group + 1] > start]
            at = int(starts[wanted[0]]) if wanted else 0
            parts = []
            for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=wanted) if wanted else ():
                first, end = max(start - at, 0), min(stop - at, len(batch))
                if first < end:
                    parts.append(batch.slice(first, end - first))
                at += len(batch)
            return pa.Table.from_batches(parts, file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise InvalidDataset(f"{path} is not a readable Parquet file: {error}") from error


def conform(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """``table`` with exactly the columns and types of ``schema``; optional columns it lacks are null.

    Raises:
        InvalidDataset: a column is missing, unknown, there twice or of a type that does not fit.
    """
    names = table.column_names
    problems = [f"column {name!r} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [
        f"column {name!r} is not one of {', '.join(schema.names)}" for name in names if name not in schema.names
    ]
    problems += [f"column {name!r} is missing" for name in schema.names if name not in names and name not in OPTIONAL]
    columns = []
    for field in schema:
        if field.name not in names:
            columns.append(pa.nulls(table.num_rows, field.type))
        elif not problems:
            column = table.column(field.name)
            if _fits(column.type, field.type):
                columns.append(column.cast(field.type, safe=False))
            else:
                problems.append(f"column {field.name!r} must be {field.type}, not {column.type}")
    if problems:
        raise InvalidDataset(f"{where} has the wrong columns:", problems)
    return pa.table(columns, schema=schema)


def check_key(table: pa.Table, where: str) -> None:
    """Raise InvalidDataset unless each row has a ``sample_id`` of its own."""
    if KEY not in table.column_names:
        raise InvalidDataset(f"{where} has no column {KEY!r}")
    keys = table.column(KEY)
    if keys.null_count or pc.any(pc.equal(keys, "")).as_py():
        rows = [str(row) for row, key in enumerate(keys.to_pylist()) if not key]
        raise InvalidDataset(f"{where}: {KEY} is empty in row {some(rows)}; every sample needs one")
    counts = pc.value_counts(keys)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if repeated:
        raise InvalidDataset(f"{where}: {KEY} must be unique; more than once: {some(sorted(repeated))}")
    if long := [key[:40] + "..." for key in keys.to_pylist() if len(key) > MAX_KEY]:
        raise InvalidDataset(f"{where}: {KEY} is longer than {MAX_KEY} characters: {some(long)}")


def write_table(table: pa.Table) -> bytes:
    """Parquet bytes of a keyed table; equal content, in whatever order, gives equal bytes."""
    ordered = table.sort_by(KEY).combine_chunks().replace_schema_metadata(None)
    sink = io.BytesIO()
    pq.write_table(ordered, sink, compression="zstd", version="2.6", row_group_size=1 << 16)
    return sink.getvalue()


def upsert_records(base: pa.Table, added: pa.Table, key: str = KEY) -> pa.Table:
    """``base`` with the rows of ``added`` put in place of, or beside, those with their key; sorted by key.

    Both tables have one schema and unique keys.
    """
    kept = base.filter(pc.invert(pc.is_in(base.column(key), value_set=added.column(key).combine_chunks())))
    return pa.concat_tables([kept, added]).sort_by(key).combine_chunks()


def features_table(sample_ids: Sequence[str], paths: Sequence[str], features: NDArray[np.float32]) -> pa.Table:
    """A FEATURES table of ``features`` (samples x width, float32), row by row."""
    count, width = features.shape
    offsets = pa.array(
        np.arange(0, (count + 1) * width, width, dtype=np.int32) if width else np.zeros(count + 1, np.int32)
    )
    lists = pa.ListArray.from_arrays(offsets, pa.array(features.ravel(), pa.float32()))
    return pa.table([pa.array(sample_ids, pa.string()), pa.array(paths, pa.string()), lists], schema=FEATURES)


def _fits(given: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_null(given) or given == wanted:
        return True
    if pa.types.is_dictionary(given):
        given = given.value_type
    if pa.types.is_string(wanted):
        return bool(pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given))
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_timestamp(given))
    return bool(pa.types.is_list(wanted) and _is_list(given) and pa.types.is_floating(given.value_type))


def _is_list(given: pa.DataType) -> bool:
    return bool(pa.types.is_list(given) or pa.types.is_large_list(given) or pa.types.is_fixed_size_list(given))


def some(values: Sequence[str], most: int = 10) -> str:
    """The first ``most`` values, and how many more there are."""
    shown = ", ".join(values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"
