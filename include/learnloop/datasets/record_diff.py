"""What changed between two keyed tables, record by record: whole columns at a time, never a row in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from learnloop.datasets.tables import KEY

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """How many were added, removed, changed; ``renamed`` files have the content of one that went."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    renamed: int = 0


@dataclass(frozen=True)
class RecordChange:
    """One record that is in both tables: the fields that differ, as (before, after)."""

    key: str
    fields: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class TableChanges:
    """Records by key, in order of key, at most as many of each kind as asked for.

    ``by_field`` counts the changed records of each field. ``columns`` says which columns came (``+name``), went
    (``-name``) or have another type (``name: before -> after``).
    """

    path: str
    counts: Counts
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[RecordChange, ...]
    by_field: dict[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


def diff_tables(path: str, before: pa.Table, after: pa.Table, limit: int = 100) -> TableChanges:
    """What changed from one keyed table to another. Both have a ``sample_id`` that is unique and never null.

    A missing column's values are null, and NaN equals NaN. Columns of different types are compared as the type of
    ``after`` where all values can be brought to it; else every record has changed.
    """
    old_keys, new_keys = _keys(before), _keys(after)
    found = pc.index_in(new_keys, value_set=old_keys)
    added = _positions(pc.is_null(found))
    at_new = _positions(pc.is_valid(found))
    at_old = found.drop_null().to_numpy().astype(np.int64)
    gone = np.ones(len(old_keys), dtype=bool)
    gone[at_old] = False
    removed = np.flatnonzero(gone)

    fields = [name for name in after.column_names if name != KEY]
    fields += [name for name in before.column_names if name not in after.column_names]
    changed: dict[str, NDArray[np.bool_]] = {}
    for name in fields:
        differs = _differ(_column(before, name, at_old), _column(after, name, at_new))
        if differs.any():
            changed[name] = differs
    any_field = np.zeros(len(at_new), dtype=bool)
    for differs in changed.values():
        any_field |= differs

    return TableChanges(
        path=path,
        counts=Counts(len(added), len(removed), int(any_field.sum())),
        added=tuple(_first(new_keys, added, limit)),
        removed=tuple(_first(old_keys, removed, limit)),
        changed=tuple(_records(before, after, at_old, at_new, any_field, changed, limit)),
        by_field={name: int(differs.sum()) for name, differs in changed.items()},
        columns=tuple(_columns(before, after)),
    )


def _keys(table: pa.Table) -> pa.Array:
    return _whole(table.column(KEY).cast(pa.large_string()))


def _column(table: pa.Table, name: str, rows: Positions) -> pa.Array | None:
    if name not in table.column_names:
        return None
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Most tables keep their rows' order; then there is nothing to gather.
    kept = len(rows) == len(column) and bool((rows == np.arange(len(rows))).all())
    return _whole(column if kept else column.take(pa.array(rows)))


def _differ(before: pa.Array | None, after: pa.Array | None) -> NDArray[np.bool_]:
    """Where two columns of equal length differ."""
    if before is None or after is None:
        there = after if before is None else before
        return np.zeros(0, dtype=bool) if there is None else _mask(pc.is_valid(there))
    if before.type != after.type:
        try:
            before = before.cast(after.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return np.ones(len(after), dtype=bool)
    null_before, null_after = _mask(before.is_null()), _mask(after.is_null())
    differs: NDArray[np.bool_] = null_before != null_after
    both = ~null_before & ~null_after
    if _is_list(after.type):
        differs[both] |= _lists_differ(before.filter(pa.array(both)), after.filter(pa.array(both)))
    elif pa.types.is_struct(after.type):
        for index in range(after.type.num_fields):
            differs |= both & _differ(pc.struct_field(before, index), pc.struct_field(after, index))
    else:
        unequal = pc.fill_null(pc.not_equal(before, after), False)
        if pa.types.is_floating(after.type):
            nans = pc.fill_null(pc.and_(pc.is_nan(before), pc.is_nan(after)), False)
            unequal = pc.and_not(unequal, nans)
        differs |= _mask(unequal)
    return differs


def _lists_differ(before: pa.Array, after: pa.Array) -> NDArray[np.bool_]:
    """Where lists without nulls differ: in length, or in an element."""
    sizes, others = _sizes(before), _sizes(after)
    differs: NDArray[np.bool_] = sizes != others
    same = np.flatnonzero(~differs)
    if len(same):
        rows = pa.array(same)
        elements = _differ(pc.list_flatten(before.take(rows)), pc.list_flatten(after.take(rows)))
        parents = np.repeat(same, sizes[same])
        differs[parents[elements]] = True
    return differs


def _records(
    before: pa.Table,
    after: pa.Table,
    at_old: Positions,
    at_new: Positions,
    any_field: NDArray[np.bool_],
    changed: dict[str, NDArray[np.bool_]],
    limit: int,
) -> list[RecordChange]:
    """The first changed records in order of key."""
    common = np.flatnonzero(any_field)
    keys = _keys(after).take(pa.array(at_new[common]))
    chosen = common[pc.sort_indices(keys).to_numpy()[:limit]]
    old, new = before.take(pa.array(at_old[chosen])), after.take(pa.array(at_new[chosen]))
    nothing = [None] * len(chosen)
    values = {
        name: (
            old.column(name).to_pylist() if name in old.column_names else nothing,
            new.column(name).to_pylist() if name in new.column_names else nothing,
        )
        for name in changed
    }
    return [
        RecordChange(
            key=key,
            fields={
                name: (values[name][0][row], values[name][1][row])
                for name, differs in changed.items()
                if differs[chosen[row]]
            },
        )
        for row, key in enumerate(new.column(KEY).to_pylist())
    ]


def _columns(before: pa.Table, after: pa.Table) -> list[str]:
    old, new = before.schema, after.schema
    said = [f"-{name}" for name in old.names if name not in new.names]
    said += [f"+{name}" for name in new.names if name not in old.names]
    for name in new.names:
        if name in old.names and old.field(name).type != new.field(name).type:
            said.append(f"{name}: {old.field(name).type} -> {new.field(name).type}")
    return said


def _first(keys: pa.Array, rows: Positions, limit: int) -> Sequence[str]:
    """The first of the keys at ``rows``, in order."""
    chosen = keys.take(pa.array(rows))
    return list(chosen.take(pc.sort_indices(chosen)[:limit]).to_pylist())


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.combine_chunks() if isinstance(combined, pa.ChunkedArray) else combined


def _mask(array: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)


def _positions(mask: pa.Array) -> Positions:
    return np.flatnonzero(_mask(mask))


def _sizes(lists: pa.Array) -> Positions:
    return np.asarray(pc.list_value_length(lists).to_numpy(zero_copy_only=False), dtype=np.int64)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
