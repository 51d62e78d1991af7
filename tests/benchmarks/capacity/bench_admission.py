"""Waiting, use and fairness of the admission policy beside others: 10,000 jobs on 1,000 nodes, simulated.

    PYTHONPATH=include:tests python tests/benchmarks/capacity/bench_admission.py [JOBS NODES [LOAD [SEED]]]

What the workload is, and where its numbers come from: tests/cluster_simulation.py. All policies get the same jobs.
"""

from __future__ import annotations

import sys
from statistics import fmean

from cluster_simulation import BACKFILL, Outcome, cluster, fifo, first_fit, ours, percentile, simulate, workload

POLICIES = {"FIFO": fifo, "first fit": first_fit, "FIFO with backfill": BACKFILL, "ours": ours()}
HEADINGS = (
    "policy", "mean wait", "p50", "p95", "p99", "mean, high", "mean, normal", "mean, low", "heavy users", "light users",
    "8 GPUs, p95", "slowdown", "GPUs used", "all done", "a decision, mean / p99",
)  # fmt: skip


def row(name: str, outcome: Outcome) -> list[str]:
    waits = outcome.waits()
    by_priority = [fmean(outcome.waits(lambda job, level=level: job.priority == level)) for level in (60, 0, -60)]
    by_user = [fmean(outcome.waits(lambda job, kind=kind: job.user.startswith(kind))) for kind in ("heavy", "light")]
    large = percentile(outcome.waits(lambda job: job.amounts.gpu == 8), 95)
    minutes = [fmean(waits), *(percentile(waits, percent) for percent in (50, 95, 99)), *by_priority, *by_user, large]
    milliseconds = [1000 * fmean(outcome.deciding), 1000 * percentile(outcome.deciding, 99)]
    return [
        name,
        *(f"{value / 60:.1f} min" for value in minutes),
        f"{outcome.slowdown():.1f}",
        f"{outcome.used:.1%}",
        f"{outcome.ended / 3600:.1f} h",
        " / ".join(f"{value:.0f} ms" for value in milliseconds),
    ]


def main() -> None:
    jobs, nodes = (int(word) for word in (sys.argv[1:3] or ("10000", "1000")))
    load, seed = float((sys.argv[3:4] or ["12"])[0]), int((sys.argv[4:5] or ["0"])[0])
    machines = cluster(nodes)
    work = workload(jobs, machines, load, seed)
    gpus = sum(node.total.gpu for node in machines)
    print(
        f"{jobs} jobs in {work[-1].waiting.since / 3600:.1f} h on {nodes} nodes with {gpus} GPUs, load {load}, seed {seed}\n"
    )
    print("| " + " | ".join(HEADINGS) + " |")
    print("|" + "---|" * len(HEADINGS))
    for name, policy in POLICIES.items():
        print("| " + " | ".join(row(name, simulate(work, machines, policy))) + " |", flush=True)


if __name__ == "__main__":
    main()
