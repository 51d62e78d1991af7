"""Cell by cell: where do two columns differ? And row by row: which rows of two sorted tables have one key?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

_BLOCK = 1 << 16  # rows of a list column that are compared at once: bounds the memory
_RUN = 32  # neighbouring keys that are looked up together


def differs(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    """Where two columns of one type and length differ. Null equals null, and NaN equals NaN."""
    kind = left.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        starts = range(0, len(left), _BLOCK)
        blocks = [
            _lists_differ(_one(left[start : start + _BLOCK]), _one(right[start : start + _BLOCK])) for start in starts
        ]
        return np.concatenate(blocks) if blocks else np.zeros(0, bool)
    if pa.types.is_nested(kind) or pa.types.is_dictionary(kind) or pa.types.is_null(kind):
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return np.fromiter((one != other for one, other in pairs), bool, len(left))
    unequal = pc.not_equal(left, right)
    if left.null_count or right.null_count:
        unequal = pc.or_(pc.fill_null(unequal, False), pc.xor(left.is_null(), right.is_null()))
    if pa.types.is_floating(kind):
        both_nan = pc.and_(pc.fill_null(pc.is_nan(left), False), pc.fill_null(pc.is_nan(right), False))
        unequal = pc.and_not(unequal, both_nan)
    return np.asarray(unequal.to_numpy(), dtype=bool)


def rows_in(base: pa.Array, side: pa.Array) -> Rows:
    """For each key of ``side`` its row in ``base``, -1 where it is not there. Both are sorted and unique.

    Each run of ``_RUN`` keys is looked up by its first; where nothing came or went in it, the others follow. Only keys
    that do not are looked up one by one.
    """
    if not len(base) or not len(side):
        return np.full(len(side), -1, np.int64)
    every = np.arange(len(side))
    starts = places_for(base, side.take(pa.array(every[::_RUN])))
    rows = np.minimum(np.repeat(starts, _RUN)[: len(side)] + every % _RUN, len(base) - 1)
    found = _equal(base.take(pa.array(rows)), side)
    left = np.flatnonzero(~found)
    keys = side.take(pa.array(left))
    rows[left] = np.minimum(places_for(base, keys), len(base) - 1)
    found[left] = _equal(base.take(pa.array(rows[left])), keys)
    rows[~found] = -1
    return np.asarray(rows, dtype=np.int64)


def places_for(keys: pa.Array, new: pa.Array) -> Rows:
    """Where each of the ``new`` keys belongs among the sorted ``keys``: the number of keys before it."""
    return np.asarray(pc.search_sorted(keys, new).to_numpy(), dtype=np.int64)


def _equal(left: pa.Array, right: pa.Array) -> Mask:
    return np.asarray(pc.equal(left, right).to_numpy(zero_copy_only=False), dtype=bool)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _lists_differ(left: pa.Array, right: pa.Array) -> Mask:
    lengths, others = pc.list_value_length(left), pc.list_value_length(right)
    unequal = differs(pa.chunked_array([lengths]), pa.chunked_array([others]))
    same = ~unequal & lengths.is_valid().to_numpy(zero_copy_only=False)
    if not same.any():
        return unequal
    mask = pa.array(same)
    cells = differs(pa.chunked_array([left.filter(mask).flatten()]), pa.chunked_array([right.filter(mask).flatten()]))
    width = lengths.filter(mask).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum(width)
    counts = np.concatenate([[0], np.cumsum(cells)])
    unequal[same] = counts[ends] > counts[ends - width]
    return unequal
