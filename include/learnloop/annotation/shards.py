"""The predictions of one batch: Parquet shards in a folder, scored as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from learnloop.annotation.strategies import Floats, Indices, Random, Strategy
from learnloop.errors import InvalidInput, NotFound

Matrix = NDArray[np.float32]

ROWS = 8192
"""How many predictions are in memory at once."""
BUFFER_BYTES = 1 << 20


class Shards:
    """What is kept of all ``batch-*.parquet`` of a folder, in the order of the files' names: ids and scores.

    That is 4 to 16 bytes a sample beside the text of its id (and 60 more while ids are compared); probabilities and features
    are read anew for the rows that are asked for.

    Args:
        strategy: whose scores are wanted; one that needs a committee has the column ``committee`` read, if there is one:
            ``m x k`` numbers a row, the probabilities of one model after the other.
        random: the strategy's source of chance.

    Raises:
        NotFound: the folder has no shards.
        InvalidInput: a file is no Parquet or lacks a column, a sample is named twice, or a row has not one finite
            probability a class.
    """

    def __init__(self, folder: Path, classes: Sequence[str], strategy: Strategy, random: Random) -> None:
        self.folder = folder
        self.files = sorted(folder.glob("batch-*.parquet"))
        if not self.files:
            raise NotFound(f"{folder} has no predictions (batch-*.parquet): has the batch been predicted?")
        ids: list[Any] = []
        scores: list[Floats] = []
        counts: list[int] = []
        confidence = 0.0
        for file in self.files:
            counts.append(0)
            for part in _parts(file, ["sample_id", "probabilities"], ["committee"] if strategy.needs_committee else []):
                probabilities = matrix(part["probabilities"], len(classes), f"{file.name}: probabilities")
                committee = _committee(part, len(classes), file) if "committee" in part.column_names else None
                try:
                    scores.append(strategy.scores(probabilities, committee, random))
                except InvalidInput as error:
                    raise InvalidInput(f"{file}: {error}, counted from row {counts[-1]}") from error
                confidence += float(probabilities.max(axis=1).sum(dtype=np.float64)) if len(probabilities) else 0.0
                ids += part["sample_id"].chunks
                counts[-1] += len(part)
        self.starts = np.cumsum([0, *counts])
        self.ids = pa.chunked_array(ids, pa.string())
        self.scores = np.concatenate(scores) if scores else np.zeros(0)
        self.mean_confidence = confidence / len(self.ids) if len(self.ids) else None
        _check_distinct(self.ids, folder)

    @classmethod
    def none(cls) -> Shards:
        """The predictions of an empty batch."""
        empty = cls.__new__(cls)
        empty.folder, empty.files, empty.starts = Path(), [], np.zeros(1, dtype=np.int64)
        empty.ids, empty.scores, empty.mean_confidence = pa.chunked_array([], pa.string()), np.zeros(0), None
        return empty

    def __len__(self) -> int:
        return len(self.ids)

    def not_among(self, samples: set[str]) -> Indices:
        """The rows whose sample is not one of ``samples``."""
        known = pc.is_in(self.ids, value_set=pa.array(sorted(samples), pa.string()))
        return np.flatnonzero(~known.to_numpy()).astype(np.intp)

    def rows(self, rows: Indices, columns: list[str]) -> pa.Table:
        """``columns`` of these rows, in their order; a part of one shard after the other is in memory."""
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        parts = []
        for file, start, stop in zip(self.files, self.starts[:-1], self.starts[1:], strict=True):
            first, end = np.searchsorted(ascending, [start, stop])
            if first == end:
                continue
            for part in _parts(file, columns):
                last = np.searchsorted(ascending, start + len(part))
                parts.append(part.take(pa.array(ascending[first:last] - start)))
                first, start = last, start + len(part)
        if not parts:
            return pa.table({column: [] for column in columns})
        return pa.concat_tables(parts).take(pa.array(np.argsort(order, kind="stable")))

    def features(self, rows: Indices) -> Matrix:
        """The features of these rows, ``[rows, d]``.

        Raises:
            InvalidInput: rows without features, with unequally many, or with some that are not finite.
        """
        found = matrix(self.rows(rows, ["features"])["features"], None, f"{self.folder}: features")
        if not np.isfinite(found).all():
            raise InvalidInput(f"{self.folder}: features must be finite numbers")
        return found


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


def _committee(part: pa.Table, classes: int, file: Path) -> Matrix:
    """The column ``committee`` as ``[rows, models, classes]``."""
    flat = matrix(part["committee"], None, f"{file.name}: committee")
    if flat.shape[1] % classes or (len(flat) and not flat.shape[1]):
        raise InvalidInput(
            f"{file.name}: committee: rows must have {classes} numbers a model, found {flat.shape[1]} in all"
        )
    return flat.reshape(len(flat), -1, classes)


def _check_distinct(ids: pa.ChunkedArray, folder: Path) -> None:
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    named = pc.value_counts(ids)
    twice = named.field("values").filter(pc.greater(named.field("counts"), 1)).to_pylist()
    raise InvalidInput(f"{folder}: each sample may be predicted once; more than once: {', '.join(twice[:5])}")


def _parts(file: Path, columns: list[str], optional: Sequence[str] = ()) -> Iterator[pa.Table]:
    """``columns`` (and the ``optional`` ones that are there) of a file, at most ``ROWS`` rows at a time.

    Raises:
        InvalidInput: the file is no Parquet, or lacks a column.
    """
    try:
        # Without pre-buffering and with a buffer, a column of a large file is not read whole before its first row comes.
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as parquet:
            present = set(parquet.schema_arrow.names)
            missing = sorted(set(columns) - present)
            if missing:
                raise InvalidInput(f"{file} lacks the columns {', '.join(missing)}")
            wanted = [*columns, *(column for column in optional if column in present)]
            for batch in parquet.iter_batches(ROWS, columns=wanted):
                yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{file} cannot be read as Parquet: {error}") from error
