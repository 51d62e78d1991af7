"""Why a job waits, in words: for its log, our API and the views."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from learnloop.capacity.amounts import Amounts, Node


def admitted(node: str) -> str:
    return f"admitted: there is room on {node}"


def too_many(user: str, count: int) -> str:
    return f"{user} has {count} jobs, and no more are allowed at once (jobs_per_user)"


def far_behind(window: int) -> str:
    return f"{window} jobs before it wait for room: it is planned once fewer do"


def impossible(amounts: Amounts, pool: str | None, nodes: Sequence[Node]) -> str:
    """For a job that no node could take, as things are."""
    of_pool = [node for node in nodes if pool in (None, node.pool)]
    if not of_pool:
        return f"there is no node of pool {pool!r}" if pool else "there is no node for jobs"
    able = [node for node in of_pool if node.takes(pool, amounts)]
    where = f" of pool {pool!r}" if pool else ""
    if any(amounts.fits(node.total) for node in able):
        return f"it needs {amounts} on one node{where}: what is not learnloop's holds that, with no known end"
    most = max((node.total for node in able), key=lambda total: (total.gpu, total.memory, total.cpu), default=None)
    largest = "none takes such a job" if most is None else f"the largest has {most}"
    return f"it needs {amounts}, and no node{where} is that large: {largest}"


def no_room(amounts: Amounts, pool: str | None, seconds: float, begins_at: float, room_now: bool) -> str:
    """For a job that is planned for ``begins_at``, because there is no room or (``room_now``) it is kept for others."""
    when = datetime.fromtimestamp(begins_at + 59, UTC)
    until = f"planned for {when:%Y-%m-%d %H:%M} UTC, or before"
    where = f" of pool {pool!r}" if pool else ""
    if room_now:
        return f"there is room now, but it may run for {lasting(seconds)} and would delay a job ahead; {until}"
    return f"it needs {amounts} on one node{where}; {until}"


def lasting(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
