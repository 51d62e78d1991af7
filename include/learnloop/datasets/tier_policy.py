"""Which tier a version should be in, and what the next runs will read: pure functions of the history of use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Tier = Literal["hot", "warm", "cold"]
TIERS: tuple[Tier, ...] = ("hot", "warm", "cold")
TIER_OF: dict[str, Tier] = {tier: tier for tier in TIERS}


@dataclass(frozen=True)
class TierPolicy:
    """How long a version that nobody reads stays where it is."""

    warm_after: timedelta = timedelta(days=30)
    cold_after: timedelta = timedelta(days=180)
    window: timedelta = timedelta(days=90)
    often: int = 5
    """As many uses within ``window`` keep a version hot, also when the last is older than ``warm_after``."""


@dataclass(frozen=True)
class UseFacts:
    """What is known of one version."""

    tier: Tier
    created_at: datetime
    last_used_at: datetime | None
    uses_in_window: int
    needed_by: str | None
    """What keeps it hot whatever its use: "it is the head", "an open round reads it", "a lease"; None for nothing."""


def choose_tier(facts: UseFacts, now: datetime, policy: TierPolicy) -> tuple[Tier, str]:
    """The tier that ``facts`` ask for, with the reason.

    The policy only moves versions down: up they come when they are read (``tiers.ensure_hot``) or about to be
    (``wanted``).
    """
    if facts.needed_by is not None:
        return "hot", facts.needed_by
    if facts.uses_in_window >= policy.often:
        return _not_hotter(facts, "hot", f"used {facts.uses_in_window} times in {policy.window.days} days")
    idle = now - max(facts.created_at, facts.last_used_at or facts.created_at)
    since = "never used" if facts.last_used_at is None else "last used"
    reason = f"{since}, {idle.days} days ago" if facts.last_used_at else f"{since}, made {idle.days} days ago"
    if idle >= policy.cold_after:
        return "cold", reason
    if idle >= policy.warm_after:
        return _not_hotter(facts, "warm", reason)
    return _not_hotter(facts, "hot", reason)


def _not_hotter(facts: UseFacts, tier: Tier, reason: str) -> tuple[Tier, str]:
    if TIERS.index(facts.tier) > TIERS.index(tier):
        return facts.tier, f"{reason}; it is {facts.tier}, and comes up when it is read"
    return tier, reason


def wanted(
    uses: Mapping[int, Sequence[datetime]],
    due: Collection[int],
    now: datetime,
    *,
    times: int = 3,
    within: timedelta = timedelta(days=7),
) -> dict[int, str]:
    """The versions (by id) that the next runs will read, and why: those first of which it is certain.

    Args:
        uses: when each version was used.
        due: versions that a round which is due or running starts from.
        times, within: as many uses in so long make another likely.
    """
    found = dict.fromkeys(due, "a round that is due reads it")
    for version, at in uses.items():
        recent = sum(now - within <= moment <= now for moment in at)
        if recent >= times and version not in found:
            found[version] = f"used {recent} times in {within.days} days"
    return found
