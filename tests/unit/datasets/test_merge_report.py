import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from learnloop.datasets.merge.report import Advice, ConflictEntry, plain

ENTRY = ConflictEntry(
    "record", "annotations.parquet", "s1", "label", "dark", "bright", None,
    Advice("ours", "later"), Advice("theirs", "3 to 1"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))), "2026-05-01T10:00:00+00:00"),
        (datetime(2026, 5, 1, 12), "2026-05-01T12:00:00"),
        (date(2026, 5, 1), "2026-05-01"),
        (b"\x00\xff", "00ff"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        ("a\0b", "a\ufffdb"),
        ({"x\0": [1, float("-inf"), None, True]}, {"x\ufffd": [1, "-Infinity", None, True]}),
        ((1.5, "x"), [1.5, "x"]),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_every_value_of_a_table_has_a_plain_form(value, shown):
    assert plain(value) == shown
    json.dumps(plain(value), allow_nan=False)


def test_an_entry_is_json_with_its_suggestion():
    told = json.loads(json.dumps(ENTRY.as_json(), allow_nan=False))
    assert (told["kind"], told["key"], told["field"]) == ("record", "s1", "label")
    assert (told["base"], told["ours"], told["theirs"]) == ("dark", "bright", None)
    assert told["suggestion"] == told["most_agreed"] == {"choice": "theirs", "reason": "3 to 1"}


@pytest.mark.parametrize(
    ("strategy", "choice"), [("ours", "ours"), ("theirs", "theirs"), ("newest", "ours"), ("most_agreed", "theirs")]
)
def test_what_a_strategy_chooses(strategy, choice):
    assert ENTRY.chosen_by(strategy) == choice


def test_the_place_names_the_thing_and_not_its_values():
    same = ConflictEntry("record", "annotations.parquet", "s1", "label", 1, 2, 3, ENTRY.newest, ENTRY.newest)
    others = [
        ConflictEntry("record", "annotations.parquet", "s1", "", 1, 2, 3, ENTRY.newest, ENTRY.newest),
        ConflictEntry("file", "annotations.parquet", "s1", "label", 1, 2, 3, ENTRY.newest, ENTRY.newest),
    ]
    assert same.place == ENTRY.place
    assert ENTRY.place not in {other.place for other in others}
