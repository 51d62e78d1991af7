"""Which backups are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnloop.backup.contents import File, Head
from learnloop.backup.retention import choose
from learnloop.errors import InvalidInput

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def head(hours: float, lacking: int = 0) -> Head:
    at = NOW - timedelta(hours=hours)
    file = File("", "contents", 1, "0" * 64)
    return Head(
        name=f"{at:%Y%m%dT%H%M%SZ}-{abs(hash((hours, lacking))) % 16**8:08x}",
        started_at=at.isoformat(),
        finished_at=at.isoformat(),
        product="1",
        revisions={},
        contents=file,
        objects=1,
        size=1,
        new_bytes=1,
        roots={},
        counts={},
        lacking=lacking,
    )


def test_the_newest_of_each_day_and_week_stay() -> None:
    heads = [head(12 * n) for n in range(60)]  # two a day, for thirty days
    kept = choose(heads, daily=7, weekly=4)
    days = [one.at for one in heads if one.name in kept]
    assert len({day.date() for day in days[:7]}) == 7
    assert [f"{day:%a %d}" for day in days] == [
        *("Thu 26", "Wed 25", "Tue 24", "Mon 23", "Sun 22", "Sat 21", "Fri 20"),
        *("Sun 15", "Sun 08"),
    ]
    assert all(day.hour == 12 for day in days)


def test_days_without_a_backup_do_not_count() -> None:
    assert len(choose([head(0), head(24 * 40), head(24 * 90)], daily=3, weekly=0)) == 3


def test_one_that_lacks_something_does_not_take_a_whole_ones_place() -> None:
    whole, lacking = head(2), head(1, lacking=3)
    assert choose([whole, lacking], daily=1, weekly=0) == {whole.name: "the newest"}
    assert choose([lacking], daily=1, weekly=0) == {lacking.name: "the newest"}


@pytest.mark.parametrize(("daily", "weekly"), [(0, 0), (-1, 2)])
def test_to_keep_none_is_refused(daily: int, weekly: int) -> None:
    with pytest.raises(InvalidInput, match="how many backups to keep"):
        choose([], daily=daily, weekly=weekly)


@given(
    st.lists(st.tuples(st.integers(0, 24 * 400), st.integers(0, 1)), min_size=1, unique=True),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_the_newest_whole_one_always_stays_and_no_more_than_was_asked(
    ages: list[tuple[int, int]], daily: int, weekly: int
) -> None:
    if daily + weekly == 0:
        return
    heads = [head(hours, lacking) for hours, lacking in ages]
    kept = choose(heads, daily=daily, weekly=weekly)
    best = min(heads, key=lambda one: (one.lacking > 0, NOW - one.at))
    assert best.name in kept
    assert len(kept) <= daily + weekly + 1
