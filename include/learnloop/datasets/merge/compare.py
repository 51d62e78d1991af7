"""Cell by cell: where do two columns differ? And row by row: which rows of two sorted tables have one key?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

_BLOCK = 1 << 16  # rows of a list column that are compared at once: bounds the memory
_NARROW, _WIDE = 64, 1 << 14  # keys compared at once after a difference, and at most


def differs(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    """Where two columns of one type and length differ. Null equals null, and NaN equals NaN."""
    kind = left.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        starts = range(0, len(left), _BLOCK)
        blocks = [_lists_differ(_one(left[start : start + _BLOCK]), _one(right[start : start + _BLOCK])) for start in starts]
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

    Walks both together and compares keys by the thousand. That is fast where they are nearly the same; where many
    come and go, the rest is looked up by hash instead.
    """
    rows = np.full(len(side), -1, np.int64)
    at_base = at_side = edits = 0
    width = _WIDE
    most = 1000 + len(side) // 100
    while at_base < len(base) and at_side < len(side):
        if edits > most:
            rest = pc.index_in(side[at_side:], value_set=base[at_base:]).fill_null(-1 - at_base)
            rows[at_side:] = rest.to_numpy().astype(np.int64) + at_base
            break
        width = min(width, len(base) - at_base, len(side) - at_side)
        same = pc.equal(base[at_base : at_base + width], side[at_side : at_side + width])
        run = pc.index(same, False).as_py()
        count = width if run < 0 else run
        rows[at_side : at_side + count] = np.arange(at_base, at_base + count)
        at_base, at_side = at_base + count, at_side + count
        if run < 0:
            width = min(width * 4, _WIDE)
            width = max(width, _NARROW)
            continue
        edits += 1
        width = _NARROW
        if pc.less(base[at_base], side[at_side]).as_py():
            at_base += 1
        else:
            at_side += 1
    return rows


def places_for(keys: pa.Array, new: pa.Array) -> Rows:
    """Where each of the ``new`` keys belongs among the sorted ``keys``: the number of keys before it."""
    low, high = np.zeros(len(new), np.int64), np.full(len(new), len(keys), np.int64)
    while len(keys) and (low < high).any():
        middle = (low + high) // 2
        probe = keys.take(pa.array(np.minimum(middle, len(keys) - 1)))
        after = pc.less(probe, new).to_numpy(zero_copy_only=False) & (low < high)
        low = np.where(after, middle + 1, low)
        high = np.where(after, high, np.minimum(middle, high))
    return low


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
