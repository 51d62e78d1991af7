"""Amounts of what a node has and a job needs, nodes, and how people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Amounts(NamedTuple):
    """``cpu`` in thousandths of a core, ``memory`` in bytes, ``gpu`` in whole devices. Whole numbers: sums are exact."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def less(self, other: Amounts) -> Amounts:
        return Amounts(self[0] - other[0], self[1] - other[1], self[2] - other[2])

    def fits(self, room: Amounts) -> bool:
        return self[0] <= room[0] and self[1] <= room[1] and self[2] <= room[2]

    def __str__(self) -> str:
        gpus = f", {self.gpu} GPU{'s' if self.gpu > 1 else ''}" if self.gpu else ""
        return f"{self.cpu / 1000:g} cores, {self.memory / 2**30:.3g} GiB{gpus}"


class Node(NamedTuple):
    """A machine as jobs see it.

    Attributes:
        total: what jobs could have of it if nobody else were there.
        free: what is left by all that holds no reservation of ours.
        pool: the node pool it is of; None: of none.
        dedicated: it takes jobs that ask for its pool, and no others (a taint).
        gpu_only: it takes jobs that ask for GPUs, and no others (a taint).
    """

    name: str
    total: Amounts
    free: Amounts
    pool: str | None = None
    dedicated: bool = False
    gpu_only: bool = False

    def takes(self, pool: str | None, amounts: Amounts) -> bool:
        """Whether a job that asks for ``pool`` (None: any) may come here at all, room or not."""
        if self.gpu_only and not amounts.gpu:
            return False
        return pool == self.pool or (pool is None and not self.dedicated)


def dominant_share(amounts: Sequence[float], total: Amounts) -> float:
    """The largest of the shares of ``total`` (Ghodsi et al., DRF, NSDI 2011)."""
    return max((mine / all_ for mine, all_ in zip(amounts, total, strict=True) if all_ > 0), default=0.0)


def total_of(amounts: list[Amounts]) -> Amounts:
    return Amounts(*map(sum, zip(*amounts, strict=True))) if amounts else Amounts()
