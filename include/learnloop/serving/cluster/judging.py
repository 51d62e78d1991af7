"""Whether a canary does as well as what it stands beside, by the counters of their pods' ``/metrics``: pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from learnloop.serving.metrics import PREFIX
from learnloop.serving.rollback import MIN_FAULTS, MIN_SHARE

QUANTILE = 0.95


@dataclass(frozen=True)
class Rules:
    """When a canary is bad, and when enough of it was seen.

    Attributes:
        seconds: how long it is watched.
        requests: how many requests it, and what it stands beside, must have answered for times to be compared, and it must
            have answered to be found good.
        more_errors: the share of its requests that may fail beyond the other's share.
        times_slower: by how much its time at the 95th percentile may be longer,
        slower_seconds: and how many seconds on top: a difference of milliseconds is no reason.
    """

    seconds: float = 300.0
    requests: int = 100
    more_errors: float = MIN_SHARE
    times_slower: float = 2.0
    slower_seconds: float = 0.05


@dataclass(frozen=True)
class Counts:
    """Requests answered, those of them that failed by the server's fault, and how many took at most so many seconds."""

    requests: int = 0
    failed: int = 0
    within: Mapping[float, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        bounds = {*self.within, *other.within}
        within = {bound: self.within.get(bound, 0) + other.within.get(bound, 0) for bound in sorted(bounds)}
        return Counts(self.requests + other.requests, self.failed + other.failed, within)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Counts:
        """Of what `stored` returned; nothing, of nothing."""
        within = {float(bound): number for bound, number in stored.get("within", {}).items()}
        return cls(stored.get("requests", 0), stored.get("failed", 0), within)

    def stored(self) -> dict[str, Any]:
        """As JSON can hold it, which has neither numbers as keys nor infinity."""
        within = {str(bound): number for bound, number in self.within.items()}
        return {"requests": self.requests, "failed": self.failed, "within": within}

    def since(self, before: Counts) -> Counts:
        """What came after ``before``; all of it where the counters have begun anew since."""
        if self.requests < before.requests:
            return self
        within = {bound: number - before.within.get(bound, 0) for bound, number in self.within.items()}
        return Counts(self.requests - before.requests, self.failed - before.failed, within)

    @property
    def failing(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    @property
    def slow(self) -> float:
        """Seconds within which 95 % were answered: the upper bound of the bucket that it falls into."""
        wanted = QUANTILE * max(self.within.values(), default=0)
        return next((bound for bound, number in sorted(self.within.items()) if number >= wanted), math.inf)


@dataclass(frozen=True)
class Verdict:
    """What is said of a canary. ``worse`` than what it stands beside, or not good since too little was seen."""

    good: bool
    reason: str
    worse: bool = False


def read_counts(text: str, model: str | None = None, version: int | None = None) -> Counts:
    """The counts in one server's ``/metrics``; of one version of a model only, where they are given."""
    from prometheus_client.parser import text_string_to_metric_families

    of = {} if version is None else {"model": model or "", "version": str(version)}
    requests = failed = 0
    within: dict[float, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not of.items() <= sample.labels.items():
                continue
            if sample.name == f"{PREFIX}requests_total":
                requests += int(sample.value)
                failed += int(sample.value) if int(sample.labels["status"]) >= 500 else 0
            elif sample.name == f"{PREFIX}request_seconds_bucket":
                bound = float(sample.labels["le"])
                within[bound] = within.get(bound, 0) + int(sample.value)
    return Counts(requests, failed, within)


class Watched:
    """The servers of one track: what each has counted since it was first seen, however often it was started again.

    Args:
        stored: what `stored` returned before, to go on from there.
    """

    def __init__(self, stored: Mapping[str, Any] | None = None) -> None:
        found = stored or {}
        self._last = {server: Counts.of(counts) for server, counts in found.get("last", {}).items()}
        self._sum = Counts.of(found.get("sum", {}))

    def see(self, server: str, counts: Counts, *, whole: bool = False) -> None:
        """Add what came since the last look; of a server that is new, nothing, or with ``whole`` all."""
        if whole or server in self._last:
            self._sum += counts.since(self._last.get(server, Counts()))
        self._last[server] = counts

    def stored(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "last": {server: counts.stored() for server, counts in self._last.items()},
            "sum": self._sum.stored(),
        }

    @property
    def counts(self) -> Counts:
        return self._sum


def judge(
    canary: Counts, stable: Counts, rules: Rules, *, version: int, elapsed: float, ended: Iterable[str] = ()
) -> Verdict | None:
    """What is to be said of a canary; None: not yet.

    Args:
        version: the canary's.
        elapsed: seconds since it is watched.
        ended: how pods of the canary ended by themselves.
    """
    for how in ended:
        return Verdict(False, f"a pod of version {version} ended by itself: {how}", worse=True)
    if canary.failed >= MIN_FAULTS and canary.failing - stable.failing > rules.more_errors:
        return Verdict(
            False,
            f"{canary.failed} of {canary.requests} requests of version {version} failed, and {stable.failed} of"
            f" {stable.requests} beside it",
            worse=True,
        )
    enough = min(canary.requests, stable.requests) >= rules.requests
    if enough and canary.slow > rules.times_slower * stable.slow + rules.slower_seconds:
        return Verdict(
            False,
            f"95 % of {canary.requests} requests of version {version} took up to {canary.slow:g} s, and"
            f" {stable.slow:g} s beside it",
            worse=True,
        )
    if elapsed < rules.seconds:
        return None
    if canary.requests < rules.requests:
        return Verdict(
            False,
            f"version {version} was asked {canary.requests} times in {elapsed:.0f} s, too seldom to tell:"
            f" {rules.requests} are needed",
        )
    return Verdict(
        True,
        f"{canary.failed} of {canary.requests} requests of version {version} failed (beside it {stable.failed} of"
        f" {stable.requests}); 95 % took up to {canary.slow:g} s ({stable.slow:g} s)",
    )
