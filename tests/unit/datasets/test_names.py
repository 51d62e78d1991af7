from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnloop.datasets.names import (
    RESERVED,
    VersionName,
    check_dataset_name,
    check_line,
    check_person,
    parse_name,
    safe_user,
)
from learnloop.errors import InvalidInput

AT = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (VersionName("digits", 1, 0), "digits_v1.0"),
        (VersionName("my-digits-2", 12, 345), "my-digits-2_v12.345"),
        (VersionName("digits", 1, 2, "ana", AT), "digits_v1.2_ana_20260131235958"),
        (VersionName("digits", 1, 2, "ana", AT, 3), "digits_v1.2_ana_20260131235958_3"),
    ],
)
def test_names_are_written_and_read(name, text):
    assert str(name) == text
    assert parse_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "digits",
        "digits_v1",
        "digits_v01.0",
        "Digits_v1.0",
        "digits_v1.0_ana",
        "digits_v1.0_ana_20261331000000",
        "digits_v1.0_ana_20260131235958_1",
        "digits_v1.0_../x_20260131235958",
        "digits_v1.0\n",
    ],
)
def test_what_is_no_name(text):
    with pytest.raises(InvalidInput, match="not the name of a version"):
        parse_name(text)


@given(st.text(max_size=250))
def test_any_user_gets_a_name_that_can_be_read_back(user):
    name = VersionName("digits", 1, 0, safe_user(user), AT)
    assert parse_name(str(name)) == name


def test_different_users_get_different_names():
    users = ["ana", "Ana", "ana@x", "ana/x", "ana_x", "../ana", "a" * 250, "a" * 249, "", "名"]
    assert len({safe_user(user) for user in users}) == len(users)
    assert safe_user("ana") == "ana"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is not the name"),
        ("..", "is not the name"),
        ("a/../b", "is not the name"),
        ("a\nb", "is not the name"),
        ("lamps\n", "is not the name"),
        ("-lamps", "is not the name"),
        ("Lamps", "is not the name"),
        ("l" * 64, "is not the name"),
        *((word, "reserved word") for word in sorted(RESERVED)),
    ],
)
def test_what_a_dataset_cannot_be_called(name, says):
    with pytest.raises(InvalidInput, match=says):
        check_dataset_name(name)


def test_what_a_dataset_can_be_called():
    assert [check_dataset_name(name) for name in ("lamps", "0", "head-2", "l" * 63)] == [
        "lamps",
        "0",
        "head-2",
        "l" * 63,
    ]


@pytest.mark.parametrize("sign", ["\0", "\n", "\r", "\x1b", "\x7f", "\x85", "\u2028", "\ud800"])
def test_what_would_forge_a_line_is_refused(sign):
    with pytest.raises(InvalidInput, match="control characters"):
        check_person(f"ana{sign}")
    with pytest.raises(InvalidInput, match="a purpose must not hold"):
        check_line(f"training{sign}", "a purpose")


def test_who_can_act():
    people = ["ana", "service:learnloop", "Ana Ñandú", "名", "a" * 250]
    assert [check_person(name) for name in people] == people
    for nobody in ("", "  ", "a" * 251):
        with pytest.raises(InvalidInput, match="1 to 250 characters"):
            check_person(nobody)
    with pytest.raises(InvalidInput, match="at most 1000"):
        check_line("a" * 1001, "a purpose")
