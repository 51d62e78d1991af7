"""Bounded parallelism."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

JOBS = 8
"""How many transfers run at once unless told: enough to hide a remote's delay, few enough for two cores."""


def each(items: Iterable[Item], work: Callable[[Item], Result], jobs: int) -> Iterator[Result]:
    """Results of ``work`` for every item, as they come, from ``jobs`` threads.

    Items are taken as threads become free. After a failure no further item is begun; what runs is waited for, and
    the first failure is raised.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="learnloop-remote") as pool:
        running: set[Future[Result]] = {pool.submit(work, item) for item in islice(waiting, jobs)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
            running |= {pool.submit(work, item) for item in islice(waiting, len(finished))}


def shares(items: list[Item], jobs: int, most: int) -> list[list[Item]]:
    """``items`` cut into runs of at most ``most``, and into at least ``jobs`` of them where there are so many."""
    size = max(1, min(most, -(-len(items) // jobs)))
    return [items[start : start + size] for start in range(0, len(items), size)]
