from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnloop.datasets.names import VersionName, parse_name, safe_user
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
