"""Declarations as text: what is read is what is there, and nothing else gets in."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from learnloop.errors import InvalidInput
from learnloop.pipelines.reading import DEEPEST, MOST_BYTES, read_declaration

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(12)
)


def test_plain_text_stays_text() -> None:
    text = "a: no\nb: 2026-01-01\nc: 010\nd: 1e3\ne: ~\nf: 'true'\ng: true\nh: 12:30\non: 1\nj: 0x1f\nk: \"7\""
    assert read_declaration(text) == {
        "a": "no",
        "b": "2026-01-01",
        "c": 10,
        "d": 1000.0,
        "e": None,
        "f": "true",
        "g": True,
        "h": "12:30",
        "on": 1,
        "j": "0x1f",
        "k": "7",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "anchors and aliases"),
        ("a: &x {b: *x}", "anchors and aliases"),
        ("a: {b: 1, b: 2}", "'b' stands there twice"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ("a: !!python/object/apply:os.system ['id']", "the tag tag:yaml.org,2002:python/object/apply:os.system"),
        ("a: !!binary aGk=", "the tag"),
        ("base: {a: 1}\nb:\n  <<: {c: 1}", "line 3, column 3: merge keys"),
        ("a: .inf", "no number that JSON has"),
        ('{"a": NaN}', "no number that JSON has"),
        ("a: 1e999", "too large for a number"),
        ('{"a": 1e999}', "a number is too large"),
        ("a: " + "9" * 5000, "too large for a whole number"),
        ('{"a": ' + "9" * 40 + "}", "too large for a whole number"),
        ("a: " + "[" * 5000, "nested more than"),
        ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", "nested more than"),
        ('a: "\\0"', "neither NUL"),
        ('{"a": "\\u0000"}', "neither NUL"),
        ('{"a": "\\ud800"}', "half a character"),
        ("a: \ud800", "half a character"),
        ("a: \x07", "control characters are not allowed"),
        ("? [1, 2]\n: x", "a key must be text"),
        ("a: 1\n---\nb: 2", "line 2, column 1: a second document"),
        ("a: [1", "line 2, column 1: did not find"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed"),
        ("- a", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: [" + "1," * 30_000 + "]", "more than 20000 values"),
        ("a: " + "x" * 10_000_000, "longer than 128 KiB"),
    ],
    ids=lambda value: value[:30],
)
def test_what_a_declaration_may_not_have_is_named(text: str, says: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidInput) as error:
        read_declaration(text)
    assert says in str(error.value)
    assert len(str(error.value)) < 500
    assert time.process_time() - started < 5  # generous: a bomb would take for ever, and all memory


def test_limits_leave_room() -> None:
    text = "a: " + "{b: " * (DEEPEST - 3) + "1" + "}" * (DEEPEST - 3)
    assert read_declaration(text)["a"]
    assert len(read_declaration("a: " + "x" * (MOST_BYTES - 10))["a"]) == MOST_BYTES - 10


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # what is printable, for YAML takes others only escaped
    | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab{}$%&*", max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text("abcxyz-", min_size=1), PLAIN, max_size=4))
def test_json_is_read_as_json_says(value: dict) -> None:
    assert read_declaration(json.dumps(value)) == value
    assert read_declaration(json.dumps(value, ensure_ascii=False)) == value


@given(st.dictionaries(st.text("abcxyz-", min_size=1), st.text("ab {}$%':\"#-\n\\|>!&*?\t", max_size=30), max_size=4))
def test_text_in_yaml_comes_back_as_it_was(value: dict) -> None:
    assert read_declaration(yaml.safe_dump(value, default_style='"')) == value
