"""Who is admitted now, in which order the others wait, and why: a pure function of what is there.

**Order.** A job stands in line as if it had come ``priority * ageing_seconds`` earlier than it did, and later by
``share_seconds`` times the share of the cluster that its user has, or has had lately: the dominant share (Ghodsi et al.,
DRF, NSDI 2011), at most 1, which grows with each job of theirs that is planned. All are seconds, so waiting outweighs any
priority: nobody who comes later than ``(highest - own priority) * ageing_seconds + share_seconds`` after a job goes before
it, ever.

**Backfill.** It is conservative (Mu'alem and Feitelson, IEEE TPDS 12(6), 2001): each job in order gets the earliest time at
which a node has room for as long as it may run, and what comes after it must leave that room. So a job that begins early
delays nobody ahead of it; with EASY (Lifka, JSSPP 1995) only the first in line would be safe. After ``window`` jobs that
must wait nobody is looked at (as Slurm's ``bf_max_job_test``): who is behind them is not admitted, and so delays nobody.

Jobs run on one node, and end by their timeout at the latest. What others than our jobs hold has no known end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple

from learnloop.capacity import reasons
from learnloop.capacity.amounts import Amounts, Node, dominant_share, total_of
from learnloop.capacity.timeline import Timeline

OVERDUE_SECONDS = 60.0
"""So long from now a job is expected to hold its place that should have ended already."""


class Held(NamedTuple):
    """A job that has its place. ``node`` is where it runs, or was planned to; None: unknown. It ends by ``ends_at``."""

    key: str
    user: str
    amounts: Amounts
    ends_at: float
    node: str | None = None
    pool: str | None = None


class Waiting(NamedTuple):
    """A job that waits ``since`` then, and holds ``amounts`` for at most ``seconds`` once it began."""

    key: str
    user: str
    amounts: Amounts
    seconds: float
    since: float
    priority: int = 0
    pool: str | None = None


class Verdict(NamedTuple):
    """What was decided for a waiting job.

    Attributes:
        place: 0: it is admitted, on ``node``; else its place in line, from 1.
        begins_at: when it is planned to begin, as though all ran as long as they may; None: not planned.
    """

    key: str
    place: int
    reason: str
    node: str | None = None
    begins_at: float | None = None


@dataclass(frozen=True)
class Rules:
    """The policy's numbers.

    Attributes:
        ageing_seconds: how much earlier one level of priority lets a job count.
        share_seconds: how much later a job counts whose user has the whole cluster; in proportion for less.
        window: how many jobs that must wait are planned ahead.
        most: how many jobs one user may have at once; None: any number. ``exempt`` users may.
    """

    ageing_seconds: float = 60.0
    share_seconds: float = 6 * 3600.0
    window: int = 300
    most: int | None = None
    exempt: frozenset[str] = field(default_factory=frozenset)


def decide(
    now: float,
    nodes: Sequence[Node],
    held: Sequence[Held],
    waiting: Sequence[Waiting],
    rules: Rules | None = None,
    past: Mapping[str, Sequence[float]] | None = None,
) -> list[Verdict]:
    """A verdict for each of ``waiting``, in their order. The same input, the same answer.

    Args:
        now: seconds, on the clock of all times here.
        past: what users have had on average lately, beside what they hold: CPU, memory and GPUs as in `Amounts`.
    """
    rules = rules or Rules()
    plan, line = _Plan(now, nodes, held), _Line(nodes, held, waiting, rules, past or {})
    running = Counter(job.user for job in held)
    verdicts: list[Verdict] = []
    place = blocked = 0
    for job in line:
        found: _Spot | None = None
        if rules.most is not None and running[job.user] >= rules.most and job.user not in rules.exempt:
            reason = reasons.too_many(job.user, running[job.user])
        elif blocked >= rules.window:
            reason = reasons.far_behind(rules.window)
        elif (found := plan.earliest(job)) is None:
            reason = reasons.impossible(job.amounts, job.pool, nodes)
        elif found.start > now:
            reason = reasons.no_room(job.amounts, job.pool, job.seconds, found.start, plan.has_room_now(job))
            blocked += 1
        if found is not None:
            plan.take(job, found)
            line.charge(job)
            if found.start <= now:
                running[job.user] += 1
                name = nodes[found.node].name
                verdicts.append(Verdict(job.key, 0, reasons.admitted(name), name, now))
                continue
        place += 1
        verdicts.append(Verdict(job.key, place, reason, None, None if found is None else found.start))
    return verdicts


class _Line:
    """Those who wait, in order, while each user's share grows with what of theirs was planned."""

    def __init__(
        self,
        nodes: Sequence[Node],
        held: Sequence[Held],
        waiting: Sequence[Waiting],
        rules: Rules,
        past: Mapping[str, Sequence[float]],
    ) -> None:
        self._rules = rules
        self._total = total_of([node.total for node in nodes])
        self._has = defaultdict(lambda: [0.0, 0.0, 0.0], {user: list(average) for user, average in past.items()})
        for job in held:
            self._give(job.user, job.amounts)
        self._of: defaultdict[str, list[Waiting]] = defaultdict(list)
        # Of one user's jobs the share moves all alike: they keep their order, and only heads are compared.
        for one in sorted(waiting, key=lambda job: (self._virtual(job), job.since, job.key), reverse=True):
            self._of[one.user].append(one)

    def __iter__(self) -> Iterator[Waiting]:
        heads = [self._head(user) for user in self._of]
        heapify(heads)
        while heads:
            *_, user = heappop(heads)
            yield self._of[user].pop()
            if self._of[user]:
                heappush(heads, self._head(user))

    def charge(self, job: Waiting) -> None:
        self._give(job.user, job.amounts)

    def _give(self, user: str, amounts: Amounts) -> None:
        self._has[user] = [had + more for had, more in zip(self._has[user], amounts, strict=True)]

    def _head(self, user: str) -> tuple[float, float, str, str]:
        job = self._of[user][-1]
        share = min(1.0, dominant_share(self._has[user], self._total))
        return (self._virtual(job) + share * self._rules.share_seconds, job.since, job.key, user)

    def _virtual(self, job: Waiting) -> float:
        return job.since - job.priority * self._rules.ageing_seconds


class _Spot(NamedTuple):
    """Where and from when a job has room; the smaller, the better: early, then with least left over."""

    start: float
    left: tuple[int, int, int]
    node: int


class _Plan:
    """The nodes' future: what is held, and what was planned for those ahead."""

    def __init__(self, now: float, nodes: Sequence[Node], held: Sequence[Held]) -> None:
        self._now = now
        self._nodes = nodes
        self._lines = [Timeline(now, node.free) for node in nodes]
        self._planned: set[int] = set()  # nodes that hold room for later: all others only get freer with time
        self._spots: dict[tuple[str | None, Amounts], list[_Spot]] = {}
        index = {node.name: number for number, node in enumerate(nodes)}
        lost = []
        for job in held:
            number = index.get(job.node or "")
            if number is None:
                lost.append(job)
            else:
                self._hold(number, job)
        for job in lost:
            number = self._likely(job)
            if number is not None:
                self._hold(number, job)

    def earliest(self, job: Waiting) -> _Spot | None:
        """The best spot for ``job``; None when there is none, ever."""
        spots = self._spots.get((job.pool, job.amounts))
        if spots is None:
            found = (self._spot(number, job.amounts, 0.0) for number in self._open_to(job.pool, job.amounts))
            spots = self._spots[job.pool, job.amounts] = [spot for spot in found if spot.start < inf]
            heapify(spots)
        # What `take` has made untrue is dropped here; what is true of that node now, it has added.
        while spots and (spots[0].node in self._planned or spots[0] != self._spot(spots[0].node, job.amounts, 0.0)):
            heappop(spots)
        others = (
            self._spot(number, job.amounts, job.seconds)
            for number in self._planned
            if self._nodes[number].takes(job.pool, job.amounts)
        )
        best = min([*spots[:1], *others], default=None)
        return None if best is None or best.start == inf else best

    def take(self, job: Waiting, spot: _Spot) -> None:
        self._lines[spot.node].take(job.amounts, spot.start, spot.start + job.seconds)
        if spot.start > self._now:
            self._planned.add(spot.node)
        if spot.node in self._planned:
            return
        for (pool, amounts), spots in self._spots.items():
            if self._nodes[spot.node].takes(pool, amounts):
                found = self._spot(spot.node, amounts, 0.0)
                if found.start < inf:
                    heappush(spots, found)

    def has_room_now(self, job: Waiting) -> bool:
        """Whether a node could take a job at once that those ahead keep it from: only nodes with plans are in question."""
        return any(
            self._nodes[number].takes(job.pool, job.amounts) and job.amounts.fits(self._lines[number].at(self._now))
            for number in self._planned
        )

    def _spot(self, number: int, amounts: Amounts, seconds: float) -> _Spot:
        line = self._lines[number]
        start = line.earliest(amounts, seconds)
        if start == inf:
            return _Spot(inf, (0, 0, 0), number)
        cpu, memory, gpu = line.at(start).less(amounts)
        return _Spot(start, (gpu, cpu, memory), number)  # GPUs first: a whole machine's worth of them is rare

    def _open_to(self, pool: str | None, amounts: Amounts) -> list[int]:
        return [number for number, node in enumerate(self._nodes) if node.takes(pool, amounts)]

    def _hold(self, number: int, job: Held) -> None:
        ends = job.ends_at if job.ends_at > self._now else self._now + OVERDUE_SECONDS
        self._lines[number].take(job.amounts, self._now, ends)

    def _likely(self, job: Held) -> int | None:
        """Where a job will be that nobody has seen on a node yet: where it fits best, else where most is free."""
        fitting: list[tuple[tuple[int, int, int], int]] = []
        others: list[tuple[tuple[int, int, int], int]] = []
        for number in self._open_to(job.pool, job.amounts):
            cpu, memory, gpu = self._lines[number].at(self._now).less(job.amounts)
            fits = min(cpu, memory, gpu) >= 0
            (fitting if fits else others).append(((gpu, cpu, memory), number))
        if fitting:
            return min(fitting)[1]
        return max(others)[1] if others else None
