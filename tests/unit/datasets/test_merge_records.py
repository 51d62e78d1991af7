import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnloop.datasets.merge.compare import differs, places_for, rows_in
from learnloop.datasets.merge.records import merge_records
from learnloop.errors import InvalidDataset

SCHEMA = pa.schema([("sample_id", pa.string()), ("label", pa.string()), ("by", pa.string()), ("size", pa.float64())])
UNITS = [("label", "by")]

untimed = settings(deadline=None)


def table(records):
    """``{key: (label, by, size)}`` as a table."""
    rows = [dict(zip(SCHEMA.names, (key, *values), strict=True)) for key, values in records.items()]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def content(merged):
    return {row["sample_id"]: (row["label"], row["by"], row["size"]) for row in merged.to_pylist()}


def merge(base, ours, theirs, **options):
    merged = merge_records(table(base), table(ours), table(theirs), **options)
    keys = merged.table["sample_id"].to_pylist()
    assert keys == sorted(keys)
    assert merged.table.schema.equals(SCHEMA)
    return content(merged.table), [(c.key, c.field) for c in merged.conflicts]


values = st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from(["ana", None]), st.sampled_from([1.0, 2.0, None]))
records = st.dictionaries(st.sampled_from("abcdef"), values)

X, Y, Z = ("x", "ana", 1.0), ("y", "ana", 1.0), ("z", "ana", 1.0)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ({}, {}, {}, {}),
        ({}, {"a": X}, {"b": Y}, {"a": X, "b": Y}),
        ({}, {"a": X}, {"a": X}, {"a": X}),
        ({"a": X}, {}, {}, {}),
        ({"a": X, "b": X}, {"b": X}, {"a": X, "b": Y}, {"b": Y}),
        ({"a": X}, {"a": Y}, {"a": X}, {"a": Y}),
        ({"a": X}, {"a": Y}, {"a": Y}, {"a": Y}),
        # Different fields of one record.
        ({"a": X}, {"a": ("y", "ana", 1.0)}, {"a": ("x", "ana", 2.0)}, {"a": ("y", "ana", 2.0)}),
        ({"a": ("x", None, 1.0)}, {"a": ("x", "ana", 1.0)}, {"a": (None, None, None)}, {"a": (None, "ana", None)}),
        # Both added a record; each knows another field.
        ({}, {"a": ("x", None, None)}, {"a": (None, None, 2.0)}, {"a": ("x", None, 2.0)}),
        # New records go where their key belongs.
        ({"b": X, "d": X}, {"a": X, "b": X, "d": X}, {"b": X, "c": Y, "d": X, "e": Y},
         {"a": X, "b": X, "c": Y, "d": X, "e": Y}),
    ],
)  # fmt: skip
def test_what_merges(base, ours, theirs, merged):
    assert merge(base, ours, theirs) == (merged, [])


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "fields"),
    [
        ({"a": X}, {"a": Y}, {"a": Z}, ["label"]),
        ({}, {"a": X}, {"a": Y}, ["label"]),
        ({"a": X}, {}, {"a": Y}, [""]),
        ({"a": X}, {"a": Y}, {}, [""]),
        ({"a": X}, {"a": ("y", "ben", 1.0)}, {"a": ("z", "eva", 1.0)}, ["by", "label"]),
        ({"a": X}, {"a": (None, "ana", 3.0)}, {"a": ("z", "ana", 2.0)}, ["label", "size"]),
    ],
)
def test_what_is_a_conflict(base, ours, theirs, fields):
    kept, conflicts = merge(base, ours, theirs)
    assert conflicts == [("a", field) for field in fields]
    assert kept == ours
    for conflict in merge_records(table(base), table(ours), table(theirs)).conflicts:
        for side, records in (("base", base), ("ours", ours), ("theirs", theirs)):
            record = getattr(conflict, side)
            assert (record and tuple(record[name] for name in SCHEMA.names[1:])) == records.get("a")


def test_columns_that_belong_together_come_from_one_side():
    base, ours, theirs = {"a": X}, {"a": ("y", "ben", 1.0)}, {"a": ("z", "eva", 5.0)}
    assert merge(base, ours, theirs, units=UNITS) == ({"a": ("y", "ben", 5.0)}, [("a", "label")])
    chosen = merge(base, ours, theirs, units=UNITS, choices={("a", "label"): "theirs"})
    assert chosen[0] == {"a": ("z", "eva", 5.0)}
    # Two people who gave the same label do not contradict each other.
    assert merge(base, {"a": ("y", "ben", 1.0)}, {"a": ("y", "eva", 1.0)}, units=UNITS) == (
        {"a": ("y", "ben", 1.0)},
        [],
    )


@pytest.mark.parametrize("choice", ["ours", "theirs", "base"])
@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        ({"a": X, "c": X}, {"a": Y, "c": X}, {"a": Z, "c": X}),
        ({"a": X, "c": X}, {"c": X}, {"a": Z, "c": X}),
        ({"a": X, "c": X}, {"a": Y, "c": X}, {"c": X}),
    ],
)
def test_a_choice_counts(base, ours, theirs, choice):
    sides = {"base": base, "ours": ours, "theirs": theirs}
    choices = dict.fromkeys([("a", "label"), ("a", "")], choice)
    assert merge(base, ours, theirs, choices=choices)[0] == sides[choice]


@untimed
@given(records, records)
def test_against_oneself_or_the_base_nothing_happens(base, side):
    for ours, theirs in ((side, base), (base, side), (side, side)):
        assert merge(base, ours, theirs, units=UNITS) == (side, [])


@untimed
@given(records, records, records)
def test_conflicts_are_the_same_from_either_side(base, ours, theirs):
    here, there = merge(base, ours, theirs), merge(base, theirs, ours)
    assert here[1] == there[1]
    contested = {key for key, _ in here[1]}
    assert {key: row for key, row in here[0].items() if key not in contested} == {
        key: row for key, row in there[0].items() if key not in contested
    }


@untimed
@given(records, records, records)
def test_one_rule_for_every_field(base, ours, theirs):
    """The vectorised merge is what a merge of plain dictionaries, field by field, gives."""
    wanted, conflicts = {}, []
    for key in sorted(base.keys() | ours.keys() | theirs.keys()):
        b, o, t = base.get(key), ours.get(key), theirs.get(key)
        if o == t or t == b:
            row = o
        elif o == b:
            row = t
        elif o is None or t is None:
            row = o
            conflicts.append((key, ""))
        else:
            fields = []
            for name, before, mine, other in zip(SCHEMA.names[1:], b or (None,) * 3, o, t, strict=True):
                fields.append(other if mine == before else mine)
                if before != mine != other != before:
                    conflicts.append((key, name))
            row = tuple(fields)
        if row is not None:
            wanted[key] = row
    assert merge(base, ours, theirs) == (wanted, sorted(conflicts))


@untimed
@given(records, records, records)
def test_merging_again_changes_nothing(base, ours, theirs):
    merged, _ = merge(base, ours, theirs)
    assert merge(theirs, merged, theirs) == (merged, [])


@untimed
@given(records)
def test_disjoint_changes_give_both(base):
    added, others = {"0": X, "ca": Y}, {"bb": X, "z": Z}
    assert merge(base, base | added, base | others) == (dict(sorted((base | added | others).items())), [])


def test_any_order_and_any_number_of_chunks():
    base, ours = table({"b": X, "a": X, "c": X}), table({"c": X, "b": Y})
    theirs = pa.concat_tables([table({"c": Z}), table({"a": X}), table({"d": X, "b": X})])
    assert content(merge_records(base, ours, theirs).table) == {"b": Y, "c": Z, "d": X}


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)])
def test_lists_are_compared_by_content(kind):
    def features(**rows):
        return pa.table({"sample_id": list(rows), "features": pa.array(list(rows.values()), kind)})

    base = features(a=[1, 2], b=[1, 2], c=None, d=[float("nan"), 1])
    ours = features(a=[1, 3], b=[1, 2], c=None, d=[float("nan"), 1])
    theirs = features(a=[1, 2], b=[9, 2], c=[0, 0], d=[float("nan"), 1])
    merged = merge_records(base, ours, theirs)
    assert merged.conflicts == ()
    assert merged.table["features"].to_pylist()[:3] == [[1, 3], [9, 2], [0, 0]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.drop_columns("sample_id"), "no column 'sample_id'"),
        (lambda t: pa.concat_tables([t, t]), "more than once: a"),
        (lambda t: pa.concat_tables([t, table({"": X})]), "sample_id is empty"),
        (lambda t: t.drop_columns("size"), "'size' is missing in theirs, double in ours"),
        (lambda t: t.set_column(3, "size", [pa.array([1])]), "'size' is int64 in theirs, double in ours"),
    ],
)
def test_wrong_tables(change, problem):
    good = table({"a": X})
    with pytest.raises(InvalidDataset) as error:
        merge_records(good, good, change(good))
    assert problem in str(error.value)
    assert "theirs" in str(error.value)


@untimed
@given(st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)))
def test_rows_in_finds_each_key(base, side):
    left, right = (pa.array(sorted(f"{number:03d}" for number in numbers), pa.string()) for numbers in (base, side))
    place = {key: row for row, key in enumerate(left.to_pylist())}
    assert rows_in(left, right).tolist() == [place.get(key, -1) for key in right.to_pylist()]
    assert places_for(left, right).tolist() == [sum(key < new for key in left.to_pylist()) for new in right.to_pylist()]


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [
        (pa.string(), ["a", None, "c", None], ["a", None, "d", "x"]),
        (pa.float64(), [1.0, float("nan"), 2.0, None], [1.0, float("nan"), float("nan"), 0.0]),
        (pa.bool_(), [True, None, True, False], [True, None, False, None]),
        (pa.list_(pa.string()), [["a"], None, ["b", "c"], []], [["a"], None, ["b"], None]),
        (pa.struct([("x", pa.int64())]), [{"x": 1}, None, {"x": 1}, None], [{"x": 1}, None, {"x": 2}, {"x": 0}]),
        (pa.dictionary(pa.int32(), pa.string()), ["a", None, "b", None], ["a", None, "c", "a"]),
    ],
)
def test_null_equals_null_and_nan_equals_nan(kind, left, right):
    columns = (pa.chunked_array([pa.array(side[:1], kind), pa.array(side[1:], kind)]) for side in (left, right))
    assert differs(*columns).tolist() == [False, False, True, True]
    empty = pa.chunked_array([], kind)
    assert np.array_equal(differs(empty, empty), np.zeros(0, bool))
