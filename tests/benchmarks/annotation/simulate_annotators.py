"""So many people at the annotation API, simulated: what waits for what when there are 10, 100, 1,000 of them.

    python tests/benchmarks/annotation/simulate_annotators.py [--seconds 300] [--pause 5]

Each person claims a task, looks at it (exponential, ``--pause`` seconds on average), answers, and claims the next. What a
request does is taken from measurements (docs/benchmarks.md, "Annotation: beside Label Studio"), in `CLAIM`, `ANSWER`: pieces
of one API process's time (one runs at a time in each: the interpreter's lock) and of PostgreSQL's, in turn, those between
``LOCK`` and ``FREE`` while the row of the dataset is locked. So a busy API process makes the lock be held for longer, which
arithmetic on averages does not see. Requests go to API processes in turn; whoever waits is served first come, first served.

Not in it: the network, garbage collection, other work of the API, the think time of two tabs, and a machine that is slow.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

API, POSTGRES, LOCK, FREE = "api", "postgres", "lock", "free"
Step = tuple[str, float]
MS = 0.001
# 119.2 labels a second by one process that is never idle: 8.4 ms a label. PostgreSQL: 4.5 ms, as at load 30: the safe side.
CLAIM: list[Step] = [(API, 2.2 * MS), *[(API, 0.3 * MS), (POSTGRES, 0.35 * MS)] * 4]
ANSWER: list[Step] = [
    (API, 2.2 * MS),
    (LOCK, 0),
    *[(API, 0.2 * MS), (POSTGRES, 0.35 * MS)] * 7,
    (POSTGRES, 0.65 * MS),  # the commit, with its write to the disk
    (FREE, 0),
    (API, 1.4 * MS),
]


@dataclass
class Line:
    """``places`` who are served at once; the others wait in order. A lock has one place."""

    places: int
    busy: float = 0.0
    taken: int = 0
    waiting: deque[Callable[[], None]] = field(default_factory=deque)


class World:
    """A clock, and what happens when. Time is seconds of the simulation."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()

    def take(self, line: Line, then: Callable[[], None]) -> None:
        if line.taken < line.places:
            line.taken += 1
            then()
        else:
            line.waiting.append(then)

    def give(self, line: Line) -> None:
        if line.waiting:
            line.waiting.popleft()()
        else:
            line.taken -= 1


@dataclass
class Result:
    labels_a_second: float
    p50: float
    p95: float
    api: float
    postgres: float
    lock: float
    """How much of the time the busiest dataset's row was locked."""


def simulate(
    people: int,
    processes: int,
    datasets: int,
    *,
    pause: float = 5.0,
    cores: int = 2,
    seconds: float = 300,
    seed: int = 1,
) -> Result:
    """``p50`` and ``p95``: seconds for claim and answer together, without the time that a person looks."""
    world, choose = World(), random.Random(seed)
    servers = [Line(1) for _ in range(processes)]
    postgres, locks = Line(cores), [Line(1) for _ in range(datasets)]
    turn, took, warm = itertools.cycle(servers), [], seconds / 6

    def work(steps: list[Step], lock: Line, done: Callable[[], None]) -> None:
        server, left, held = next(turn), iter(steps), 0.0

        def go_on() -> None:
            nonlocal held
            kind, cost = next(left, ("", 0.0))
            if kind == LOCK:

                def locked() -> None:
                    nonlocal held
                    held = world.now
                    go_on()

                world.take(lock, locked)
            elif kind == FREE:
                lock.busy += world.now - held
                world.give(lock)
                go_on()
            elif kind:
                line = server if kind == API else postgres
                line.busy += cost

                def served() -> None:
                    world.give(line)
                    go_on()

                world.take(line, lambda: world.at(world.now + cost, served))
            else:
                done()

        go_on()

    def person(lock: Line) -> None:
        def claim() -> None:
            began = world.now

            def claimed() -> None:
                spent = world.now - began
                world.at(world.now + choose.expovariate(1 / pause) if pause else world.now, lambda: answer(spent))

            work(CLAIM, lock, claimed)

        def answer(spent: float) -> None:
            began = world.now

            def answered() -> None:
                if world.now > warm:
                    took.append(spent + world.now - began)
                claim()

            work(ANSWER, lock, answered)

        world.at(choose.random() * (pause or 0.1), claim)

    for number in range(people):
        person(locks[number % datasets])
    world.run(seconds)
    took.sort()
    return Result(
        labels_a_second=len(took) / (seconds - warm),
        p50=statistics.median(took),
        p95=took[int(0.95 * len(took))],
        api=max(line.busy for line in servers) / seconds,
        postgres=postgres.busy / cores / seconds,
        lock=max(line.busy for line in locks) / seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=5.0)
    asked = parser.parse_args()
    print("people processes datasets   labels/s   p50 ms   p95 ms   API   PostgreSQL   lock")

    def show(people: int, processes: int, datasets: int, pause: float) -> None:
        found = simulate(people, processes, datasets, pause=pause, seconds=asked.seconds)
        print(
            f"{people:6} {processes:9} {datasets:8}   {found.labels_a_second:8.1f} {found.p50 * 1000:8.0f}"
            f" {found.p95 * 1000:8.0f}  {found.api:4.0%}  {found.postgres:10.0%}  {found.lock:5.0%}"
        )

    print("nobody pauses (beside what was measured: 119 labels/s with 8 people and one process)")
    show(8, 1, 1, 0)
    show(8, 1, 4, 0)
    print(f"people who look at a sample for {asked.pause:g} s")
    for people, processes, datasets in (
        (10, 1, 1), (100, 1, 1), (500, 1, 1), (500, 2, 1), (1000, 2, 1), (1000, 4, 1), (1000, 4, 4), (2000, 4, 1),
        (2000, 8, 1), (2000, 8, 4),
    ):  # fmt: skip
        show(people, processes, datasets, asked.pause)


if __name__ == "__main__":
    main()
