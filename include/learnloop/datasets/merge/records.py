"""Three keyed tables become one, record by record and, where both sides changed a record, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from learnloop.datasets.merge.compare import Mask, Rows, differs, places_for, rows_in
from learnloop.datasets.merge.trees import Choice
from learnloop.datasets.tables import KEY, some
from learnloop.errors import InvalidDataset

Record = dict[str, Any]
Unit = tuple[str, ...]
Choices = Mapping[tuple[str, str], Choice]

_NOTHING: Choices = {}


@dataclass(frozen=True)
class RecordConflict:
    """A record that both sides changed, each otherwise.

    ``fields`` are the columns it is about, empty when one side deleted the record and the other changed it. The three
    values are whole records; None where there is none.
    """

    key: str
    fields: Unit
    base: Record | None
    ours: Record | None
    theirs: Record | None

    @property
    def field(self) -> str:
        """The column that names the conflict; empty for a whole record."""
        return self.fields[0] if self.fields else ""


@dataclass(frozen=True)
class RecordMerge:
    """What came of it, sorted by key. ``table`` holds, for each conflict, what was chosen: else ours."""

    table: pa.Table
    conflicts: tuple[RecordConflict, ...]


def merge_records(
    base: pa.Table,
    ours: pa.Table,
    theirs: pa.Table,
    key: str = KEY,
    *,
    units: Sequence[Unit] = (),
    choices: Choices = _NOTHING,
) -> RecordMerge:
    """Merge what ``ours`` and ``theirs`` did to ``base``. The tables have one schema and, each, unique keys.

    A record that one side changed, added or deleted is as that side has it. Where both changed one, each field is as
    the side has it that changed that field. No conflict: both did the same. A conflict: one field with two new
    values; a record that one side deleted and the other changed.

    Args:
        units: columns that mean something only together, such as a label, its annotator and its time: they are
            taken from one side, and are a conflict where their first column is.
        choices: by key and field (empty: the whole record), which value a conflict gets.

    Raises:
        InvalidDataset: different columns, no key, an empty or a repeated key.
    """
    tables = {"base": base, "ours": ours, "theirs": theirs}
    _check_columns(tables, key)
    base, ours, theirs = (_sorted(table, key, side) for side, table in tables.items())
    mine, others = _Side(base, ours, key), _Side(base, theirs, key)

    patches = _Patches(ours, mine)
    theirs_alone = others.changed & ~mine.changed
    patches.replace(theirs, others.row_of, np.flatnonzero(theirs_alone & others.present))
    patches.drop(np.flatnonzero(theirs_alone & ~others.present))

    both = mine.changed & others.changed
    deleted = np.flatnonzero(both & (mine.present != others.present))
    conflicts = _deleted_and_changed(base, ours, theirs, mine, others, deleted, key, choices, patches)

    added = _added_by_both(ours, theirs, mine, others, key)
    changed = np.flatnonzero(both & mine.present & others.present)
    before = np.concatenate([changed, np.full(len(added[0]), -1)])
    rows = np.concatenate([mine.row_of[changed], added[0]])
    other_rows = np.concatenate([others.row_of[changed], added[1]])
    in_fields, merged = _by_field(
        _take(base, before), _take(ours, rows), _take(theirs, other_rows), key, units, choices, before >= 0
    )
    patches.put(merged, rows)
    patches.insert(theirs.take(pa.array(np.setdiff1d(others.added, added[1]))))
    return RecordMerge(patches.applied(key), tuple(sorted(conflicts + in_fields, key=lambda c: (c.key, c.field))))


class _Side:
    """What one side did to the base, by row of the base."""

    def __init__(self, base: pa.Table, side: pa.Table, key: str) -> None:
        at = rows_in(_keys(base, key), _keys(side, key))
        here = at >= 0
        self.added: Rows = np.flatnonzero(~here)
        self.row_of: Rows = np.full(base.num_rows, -1, np.int64)
        self.row_of[at[here]] = np.flatnonzero(here)
        self.present: Mask = self.row_of >= 0
        # Both are sorted: their common records are in one order. One column at a time bounds the memory.
        self.changed: Mask = ~self.present
        unequal = np.zeros(np.count_nonzero(here), bool)
        for name in base.column_names:
            if name != key:
                unequal |= differs(_filter(base.column(name), self.present), _filter(side.column(name), here))
        self.changed[self.present] = unequal


class _Patches:
    """Changes to ``ours`` that are made in one pass at the end."""

    def __init__(self, ours: pa.Table, side: _Side) -> None:
        self._ours = ours
        self._side = side
        self._order: Rows = np.arange(ours.num_rows)
        self._sources = [ours]
        self._next = ours.num_rows
        self._inserted: list[tuple[pa.Table, Rows]] = []

    def put(self, records: pa.Table, rows: Rows) -> None:
        """Replace the records at ``rows`` of ours."""
        self._order[rows] = self._add(records)

    def replace(self, side: pa.Table, row_of: Rows, base_rows: Rows) -> None:
        """Replace ours by the records of ``side``, both given by row of the base."""
        self.put(side.take(pa.array(row_of[base_rows])), self._side.row_of[base_rows])

    def drop(self, base_rows: Rows) -> None:
        self._order[self._side.row_of[base_rows]] = -1

    def insert(self, records: pa.Table) -> None:
        """Add records that ours does not have."""
        self._inserted.append((records, self._add(records)))

    def applied(self, key: str) -> pa.Table:
        if self._next == self._ours.num_rows and (self._order >= 0).all():
            return self._ours
        new = pa.concat_tables([records for records, _ in self._inserted])
        ids = np.concatenate([ids for _, ids in self._inserted])
        by_key = pc.sort_indices(new.column(key)).to_numpy()
        keys = _keys(new, key).take(pa.array(by_key))
        order = np.insert(self._order, places_for(_keys(self._ours, key), keys), ids[by_key])
        return _take(pa.concat_tables(self._sources), order[order >= 0])

    def _add(self, records: pa.Table) -> Rows:
        ids = np.arange(self._next, self._next + records.num_rows)
        self._sources.append(records)
        self._next += records.num_rows
        return ids


def _deleted_and_changed(
    base: pa.Table,
    ours: pa.Table,
    theirs: pa.Table,
    mine: _Side,
    others: _Side,
    rows: Rows,
    key: str,
    choices: Choices,
    patches: _Patches,
) -> list[RecordConflict]:
    """The records that one side deleted and the other changed, with what was chosen put into ``patches``."""
    found = []
    before = base.take(pa.array(rows)).to_pylist()
    for row, record in zip(rows.tolist(), before, strict=True):
        name = record[key]
        my_row, other_row = int(mine.row_of[row]), int(others.row_of[row])
        my_record = ours.slice(my_row, 1).to_pylist()[0] if my_row >= 0 else None
        other = theirs.slice(other_row, 1).to_pylist()[0] if other_row >= 0 else None
        found.append(RecordConflict(name, (), record, my_record, other))
        choice = choices.get((name, ""), "ours")
        if choice == "ours":
            continue
        if choice == "theirs" and other_row < 0:
            patches.drop(np.array([row]))
            continue
        chosen = base.slice(row, 1) if choice == "base" else theirs.slice(other_row, 1)
        if my_row >= 0:
            patches.put(chosen, np.array([my_row]))
        else:
            patches.insert(chosen)
    return found


def _added_by_both(ours: pa.Table, theirs: pa.Table, mine: _Side, others: _Side, key: str) -> tuple[Rows, Rows]:
    """Rows of ours and of theirs that are new under one key."""
    my_keys, other_keys = (
        _keys(table, key).take(pa.array(side.added)) for table, side in ((ours, mine), (theirs, others))
    )
    at = rows_in(my_keys, other_keys)
    return mine.added[at[at >= 0]], others.added[at >= 0]


def _by_field(
    base: pa.Table,
    ours: pa.Table,
    theirs: pa.Table,
    key: str,
    units: Sequence[Unit],
    choices: Choices,
    known: Mask,
) -> tuple[list[RecordConflict], pa.Table]:
    """Merge records that both sides have, row by row; a new one (not ``known``) has nulls for a base."""
    keys = ours.column(key).to_pylist()
    columns = {key: ours.column(key)}
    found: list[tuple[int, Unit]] = []
    for unit in _units(ours.column_names, key, units):
        by_us, by_them = (
            np.logical_or.reduce([differs(base.column(name), side.column(name)) for name in unit])
            for side in (ours, theirs)
        )
        contested = np.flatnonzero(by_us & by_them & differs(ours.column(unit[0]), theirs.column(unit[0])))
        found += [(row, unit) for row in contested.tolist()]
        from_theirs, from_base = by_them & ~by_us, np.zeros(len(keys), bool)
        for row in contested.tolist():
            choice = choices.get((keys[row], unit[0]), "ours")
            from_theirs[row], from_base[row] = choice == "theirs", choice == "base"
        for name in unit:
            column = pc.if_else(pa.array(from_theirs), theirs.column(name), ours.column(name))
            columns[name] = pc.if_else(pa.array(from_base), base.column(name), column)
    merged = pa.table([columns[name] for name in ours.column_names], schema=ours.schema)
    rows = sorted({row for row, _ in found})
    whole = [
        dict(zip(rows, table.take(pa.array(rows, pa.int64())).to_pylist(), strict=True))
        for table in (base, ours, theirs)
    ]
    conflicts = [
        RecordConflict(keys[row], unit, whole[0][row] if known[row] else None, whole[1][row], whole[2][row])
        for row, unit in found
    ]
    return conflicts, merged


def _units(names: Sequence[str], key: str, units: Sequence[Unit]) -> list[Unit]:
    present = [unit for unit in units if set(unit) <= set(names)]
    together = {name for unit in present for name in unit}
    return present + [(name,) for name in names if name != key and name not in together]


def _check_columns(tables: Mapping[str, pa.Table], key: str) -> None:
    for side, table in tables.items():
        if key not in table.column_names:
            raise InvalidDataset(f"{side}: there is no column {key!r}; a keyed table needs it")
        if not table.schema.equals(tables["ours"].schema):
            problems = [
                f"{name!r} is {_kind(table, name)} in {side}, {_kind(tables['ours'], name)} in ours"
                for name in dict.fromkeys([*tables["ours"].column_names, *table.column_names])
                if _kind(table, name) != _kind(tables["ours"], name)
            ]
            raise InvalidDataset(
                f"{side} and ours have different columns; give both the same ones, in the same order:", problems
            )


def _kind(table: pa.Table, name: str) -> str:
    return str(table.schema.field(name).type) if name in table.column_names else "missing"


def _sorted(table: pa.Table, key: str, side: str) -> pa.Table:
    """``table`` in order of its keys, which are there and unique."""
    keys = table.column(key)
    if keys.null_count or pc.any(pc.equal(keys, "")).as_py():
        raise InvalidDataset(f"{side}: {key} is empty in a record; every record needs one")
    if not _increasing(keys):
        table = table.sort_by(key)
        keys = table.column(key)
        if not _increasing(keys):
            repeated = pc.unique(keys[1:].filter(pc.equal(keys[1:], keys[:-1]))).to_pylist()
            raise InvalidDataset(f"{side}: {key} must be unique; more than once: {some(repeated)}")
    return table


def _increasing(keys: pa.ChunkedArray) -> bool:
    return len(keys) < 2 or bool(pc.all(pc.less(keys[:-1], keys[1:])).as_py())


def _keys(table: pa.Table, key: str) -> pa.Array:
    column = table.column(key)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _filter(column: pa.ChunkedArray, mask: Mask) -> pa.ChunkedArray:
    return column if mask.all() else column.filter(pa.array(mask))


def _take(table: pa.Table, rows: Rows) -> pa.Table:
    """The rows of ``table``; nulls where a row is -1."""
    return table.take(pa.array(rows, pa.int64(), mask=rows < 0))
