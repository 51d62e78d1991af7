"""Work on many small files, shared among processes.

Most of such work is Python's own code, which threads run in turn. A fork costs some milliseconds and has all that its
parent knew in memory.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def shared(work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """What ``work`` gives for ``items``: for parts of them in turn, one a processor, each done by a process of its own.

    ``work`` may be done again in part: by this process, when one that had it was killed. It uses no connection, no
    thread and no lock that was there before. All is done here, in one part, where there is one processor, or where
    other threads run: a fork would have their locks, and nobody to open them.

    Raises:
        what ``work`` raises, here or in another process, once all of them have ended.
    """
    processes = min(_processors(), len(items)) if threading.active_count() == 1 else 1
    if processes <= 1:
        return [work(items)]
    size = -(-len(items) // processes)
    mine, *others = [items[start : start + size] for start in range(0, len(items), size)]
    children: list[_Child[Item, Result]] = []
    try:
        children += [_Child(work, part) for part in others]
        results = [work(mine)]
    finally:
        outcomes = [child.outcome() for child in children]
    return results + [_result(work, part, outcome) for part, outcome in zip(others, outcomes, strict=True)]


def _processors() -> int:
    return len(os.sched_getaffinity(0))


class _Child(Generic[Item, Result]):
    """A process that does ``work`` on a part, and tells the outcome through a pipe."""

    def __init__(self, work: Callable[[Sequence[Item]], Result], part: Sequence[Item]) -> None:
        self._reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(writing)
            return
        # From here on in the child, which leaves by os._exit only: what its parent would do at its end is not its own.
        try:
            os.close(self._reading)
            told = pickle.dumps(_tried(work, part))
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(told)
            os._exit(0)
        finally:
            os._exit(1)

    def outcome(self) -> tuple[Result | None, BaseException | None] | None:
        """Once the process has ended: its result, or what it raised; None when it was killed."""
        with os.fdopen(self._reading, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(self._pid, 0)
        return pickle.loads(told) if status == 0 else None  # noqa: S301 - from our own child


def _tried(work: Callable[[Any], Any], part: Any) -> tuple[Any, BaseException | None]:
    try:
        return work(part), None
    except BaseException as error:  # noqa: BLE001 - told to the parent, which raises it
        return None, error


def _result(work: Callable[[Any], Any], part: Any, outcome: tuple[Any, BaseException | None] | None) -> Any:
    if outcome is None:
        return work(part)
    result, error = outcome
    if error is not None:
        raise error
    return result
