from datetime import UTC, datetime, timedelta

import pytest

from learnloop.datasets.tier_policy import TierPolicy, UseFacts, choose_tier, wanted

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = TierPolicy()


def days(number):
    return NOW - timedelta(days=number)


def facts(tier="hot", made=400, used=None, often=0, needed_by=None):
    return UseFacts(tier, days(made), None if used is None else days(used), often, needed_by)


@pytest.mark.parametrize(
    ("given", "tier", "reason"),
    [
        (facts(made=29), "hot", "never used, made 29 days ago"),
        (facts(made=30), "warm", "never used, made 30 days ago"),
        (facts(made=180), "cold", "never used, made 180 days ago"),
        (facts(used=29), "hot", "last used, 29 days ago"),
        (facts(used=30), "warm", "last used, 30 days ago"),
        (facts(used=180), "cold", "last used, 180 days ago"),
        (facts(used=60, often=5), "hot", "used 5 times in 90 days"),
        (facts(used=60, often=4), "warm", "last used, 60 days ago"),
        (facts(needed_by="the head"), "hot", "the head"),
        (facts(tier="warm", used=200), "cold", "last used, 200 days ago"),
    ],
)
def test_the_tier_follows_from_use(given, tier, reason):
    assert choose_tier(given, NOW, POLICY) == (tier, reason)


@pytest.mark.parametrize(
    "given",
    [facts("warm", used=1), facts("cold", used=1), facts("cold", used=40), facts("warm", used=50, often=9)],
)
def test_the_policy_never_moves_up_what_nothing_needs(given):
    tier, reason = choose_tier(given, NOW, POLICY)
    assert tier == given.tier
    assert "comes up when it is read" in reason


def test_what_is_needed_comes_up():
    assert choose_tier(facts("cold", needed_by="leased"), NOW, POLICY) == ("hot", "leased")


def test_what_was_used_often_lately_or_is_due_is_wanted():
    uses = {
        1: [days(6), days(3), days(1)],
        2: [days(8), days(3), days(1)],
        3: [days(1)],
        4: [days(30)] * 10,
    }
    assert wanted(uses, {3}, NOW) == {3: "a round that is due reads it", 1: "used 3 times in 7 days"}
    assert list(wanted(uses, {3}, NOW)) == [3, 1]
    assert set(wanted(uses, (), NOW, times=1, within=timedelta(days=2))) == {1, 2, 3}
