import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnloop.datasets.record_diff import Counts, RecordChange, diff_tables

VALUE = st.none() | st.sampled_from([0.0, 1.5, math.nan])
ROW = st.fixed_dictionaries(
    {
        "label": st.none() | st.sampled_from(["a", "b"]),
        "score": VALUE,
        "features": st.none() | st.lists(VALUE, max_size=3),
        "place": st.none() | st.fixed_dictionaries({"x": st.none() | st.integers(0, 1)}),
    }
)
TABLE = st.dictionaries(st.sampled_from([f"s{number}" for number in range(6)]), ROW)
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("label", pa.string()),
        ("score", pa.float64()),
        ("features", pa.list_(pa.float64())),
        ("place", pa.struct([("x", pa.int64())])),
    ]
)


def table(rows):
    return pa.Table.from_pylist([{"sample_id": key, **row} for key, row in rows.items()], schema=SCHEMA)


def same(left, right):
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return True
    return left == right


@settings(deadline=None)
@given(TABLE, TABLE, st.integers(0, 4))
def test_it_finds_what_a_look_at_every_row_finds(before, after, limit):
    found = diff_tables("t.parquet", table(before), table(after), limit)
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    changed = {
        key: sorted(name for name in row if not same(before[key][name], row[name]))
        for key, row in sorted(after.items())
        if key in before
    }
    changed = {key: names for key, names in changed.items() if names}
    assert found.counts == Counts(len(added), len(removed), len(changed))
    assert (list(found.added), list(found.removed)) == (added[:limit], removed[:limit])
    assert [(change.key, sorted(change.fields)) for change in found.changed] == list(changed.items())[:limit]
    for change in found.changed:
        for name, (old, new) in change.fields.items():
            assert same(old, before[change.key][name])
            assert same(new, after[change.key][name])
    assert sum(found.by_field.values()) == sum(map(len, changed.values()))
    assert found.columns == ()


def test_columns_that_come_go_and_change_their_type():
    before = pa.table({"sample_id": ["a", "b"], "gone": [1, None], "number": ["7", "8"], "kind": ["x", "y"]})
    after = pa.table({"sample_id": ["b", "a"], "new": ["n", None], "number": [8, 9], "kind": [[1], [2]]})
    found = diff_tables("t.parquet", before, after)
    assert found.columns == (
        "-gone", "+new", "number: string -> int64", "kind: string -> list<item: int64>"
    )  # fmt: skip
    assert found.by_field == {"gone": 1, "new": 1, "number": 1, "kind": 2}
    assert found.changed == (
        RecordChange("a", {"gone": (1, None), "number": ("7", 9), "kind": ("x", [2])}),
        RecordChange("b", {"new": (None, "n"), "kind": ("y", [1])}),
    )


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_how_a_column_is_kept_is_no_change(kind):
    plain = pa.table({"sample_id": ["a", "b"], "label": ["x", None]})
    other = plain.set_column(1, "label", plain["label"].cast(kind))
    assert diff_tables("t.parquet", plain, other).counts == Counts()
    assert diff_tables("t.parquet", other, plain).counts == Counts()
