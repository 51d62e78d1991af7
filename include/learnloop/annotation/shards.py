"""The predictions of one batch: Parquet shards in a folder, read column by column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from learnloop.errors import InvalidInput, NotFound

Matrix = NDArray[np.float32]


class Shards:
    """Rows of all ``batch-*.parquet`` of a folder, in the order of the files' names.

    Raises:
        NotFound: the folder has none.
        InvalidInput: a file is no Parquet or lacks a column, a sample is named twice, or a row has not one
            probability a class.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        self.files = sorted(folder.glob("batch-*.parquet"))
        if not self.files:
            raise NotFound(f"{folder} has no predictions (batch-*.parquet): has the batch been predicted?")
        parts = [_read(file, ["sample_id", "probabilities"]) for file in self.files]
        self.ids = pa.chunked_array([chunk for part in parts for chunk in part["sample_id"].chunks], pa.string())
        named = pc.value_counts(self.ids)
        twice = named.field("values").filter(pc.greater(named.field("counts"), 1)).to_pylist()
        if twice:
            raise InvalidInput(f"{folder}: each sample may be predicted once; more than once: {', '.join(twice[:5])}")
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        self.probabilities: Matrix = np.concatenate(
            [
                matrix(part["probabilities"], len(classes), f"{file.name}: probabilities")
                for file, part in zip(self.files, parts, strict=True)
            ]
        )

    @classmethod
    def none(cls, classes: Sequence[str]) -> Shards:
        """The predictions of an empty batch."""
        empty = cls.__new__(cls)
        empty.folder, empty.files, empty.starts = Path(), [], np.zeros(1, dtype=np.int64)
        empty.ids, empty.probabilities = pa.chunked_array([], pa.string()), np.zeros((0, len(classes)), np.float32)
        return empty

    def __len__(self) -> int:
        return len(self.ids)

    def not_among(self, samples: set[str]) -> NDArray[np.intp]:
        """The rows whose sample is not one of ``samples``."""
        known = pc.is_in(self.ids, value_set=pa.array(sorted(samples), pa.string()))
        return np.flatnonzero(~known.to_numpy()).astype(np.intp)

    def rows(self, rows: NDArray[np.intp], columns: list[str]) -> pa.Table:
        """``columns`` of these rows, in their order; one shard after the other is in memory."""
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        parts = []
        for file, start, stop in zip(self.files, self.starts[:-1], self.starts[1:], strict=True):
            here = ascending[(ascending >= start) & (ascending < stop)] - start
            if len(here):
                parts.append(_read(file, columns).take(pa.array(here)))
        if not parts:
            return pa.table({column: [] for column in columns})
        return pa.concat_tables(parts).take(pa.array(np.argsort(order, kind="stable")))


def matrix(column: Any, width: int | None, what: str) -> Matrix:
    """A list column as a matrix; every row must have the same length (``width``, if given).

    Raises:
        InvalidInput: rows of other lengths, or without a value.
    """
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # what pyarrow gives for a column without chunks, or with several
        combined = pa.concat_arrays(combined.chunks) if combined.num_chunks else pa.array([], column.type)
    lengths = pc.unique(pc.list_value_length(combined)).to_pylist()
    wanted = [width] if width is not None else lengths[:1]
    if combined.null_count or (lengths and lengths != wanted):
        right = f"{width} numbers each" if width is not None else "equally many numbers each"
        raise InvalidInput(f"{what}: rows must have {right}, found {', '.join(str(length) for length in lengths)}")
    flat = combined.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(combined), int(wanted[0] or 0) if wanted else 0)


def _read(file: Path, columns: list[str]) -> pa.Table:
    try:
        table = pq.read_table(file, columns=columns)
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{file} cannot be read as Parquet: {error}") from error
    missing = sorted(set(columns) - set(table.column_names))
    if missing:
        raise InvalidInput(f"{file} lacks the columns {', '.join(missing)}")
    return table
