"""A short run of the simulation that docs/capacity.md has the figures of: seeded, so always the same."""

from __future__ import annotations

from statistics import fmean

import pytest
from cluster_simulation import BACKFILL, Outcome, cluster, fifo, ours, simulate, workload

NODES = cluster(60)
JOBS = workload(600, NODES, load=10, seed=1)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    policies = {"fifo": fifo, "backfill": BACKFILL, "ours": ours()}
    return {name: simulate(JOBS, NODES, policy) for name, policy in policies.items()}


def mean(outcome: Outcome, **of: object) -> float:
    """Of the waits of jobs with these attributes, or users of that kind."""
    kind = of.pop("kind", "")
    return fmean(
        outcome.waits(
            lambda job: (
                job.user.startswith(str(kind)) and all(getattr(job, name) == value for name, value in of.items())
            )
        )
    )


def test_everybody_runs_and_waits_less_than_in_turn_with_no_gpu_used_less(outcomes: dict[str, Outcome]) -> None:
    assert all(len(one.waited) == len(JOBS) for one in outcomes.values())
    assert mean(outcomes["ours"]) < 0.7 * mean(outcomes["fifo"])
    assert mean(outcomes["backfill"]) < 0.7 * mean(outcomes["fifo"])
    assert outcomes["ours"].used > outcomes["fifo"].used
    assert outcomes["ours"].slowdown() < outcomes["fifo"].slowdown()


def test_priorities_and_shares_are_what_makes_the_difference(outcomes: dict[str, Outcome]) -> None:
    high, normal, low = (mean(outcomes["ours"], priority=level) for level in (60, 0, -60))
    assert 5 * high < normal < low
    assert 2 * mean(outcomes["ours"], kind="light") < mean(outcomes["ours"], kind="heavy")
    assert mean(outcomes["backfill"], kind="light") > 0.8 * mean(outcomes["backfill"], kind="heavy")
