"""What the local runner's machine has for jobs."""

from __future__ import annotations

import os
from collections.abc import Callable

from learnloop.capacity.amounts import Amounts, Node
from learnloop.capacity.deciding import Machines
from learnloop.capacity.reservations import Holder, Wanted
from learnloop.errors import InvalidInput
from learnloop.jobs.quantities import bytes_of
from learnloop.jobs.spec import JobSpec

RUNNER = "local"
NAME = "this machine"
_READ: dict[str, Callable[[str], int]] = {
    "cpu": lambda cores: round(1000 * float(cores)),
    "memory": bytes_of,
    "gpu": int,
}


def wanted_here(spec: JobSpec, holder: Holder) -> Wanted:
    """What a job asks for of this machine. It is of every node pool."""
    asked = spec.resources
    amounts = Amounts(round(asked.cpu * 1000), bytes_of(asked.memory), asked.gpu)
    return Wanted(RUNNER, spec.user, spec.key, amounts, spec.timeout_seconds, spec.priority, None, holder)


def machine(described: str) -> Machines:
    """This machine as one node.

    Args:
        described: what jobs may have of it, such as ``cpu=4,memory=8Gi,gpu=1``; what is not named is as the machine has it,
            and no GPU.

    Raises:
        InvalidInput: it says something else.
    """
    has = {
        "cpu": 1000 * len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "gpu": 0,
    }
    for part in filter(None, described.split(",")):
        name, _, value = part.strip().partition("=")
        try:
            has[name] = _READ[name](value)
            if has[name] < 0:
                raise ValueError
        except (KeyError, ValueError):
            raise InvalidInput(
                f"LEARNLOOP_MACHINE has {part.strip()!r}; it is to be like cpu=4,memory=8Gi,gpu=1"
            ) from None
    amounts = Amounts(**has)
    return Machines([Node(NAME, amounts, amounts)])
